# eider_part(store/duckdb USES store base LIBS eider_duckdb)
#   declares the part of src/store/duckdb: all *.c but *_test.c become the static library
#   eider_store_duckdb; each x_test.c becomes the test program store_duckdb_x_test, linked with the
#   parts after TESTS, too. A folder without sources declares nothing.
# eider_program() builds build/eider from src/main.c and every part.
# eider_fuzzers() builds fuzz/*_fuzz.c: with EIDER_FUZZ against libFuzzer, otherwise against
#   fuzz/replay.c, which runs the corpus once as a test.

set_property(GLOBAL PROPERTY EIDER_PARTS "")

function(eider_part path)
    cmake_parse_arguments(PART "" "" "USES;LIBS;TESTS" ${ARGN})
    string(REPLACE "/" "_" name "${path}")
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/${path}/*.c")
    set(tests ${sources})
    list(FILTER sources EXCLUDE REGEX "_test\\.c$")
    list(FILTER tests INCLUDE REGEX "_test\\.c$")
    if(NOT sources)
        return()
    endif()
    add_library(eider_${name} STATIC ${sources})
    foreach(used IN LISTS PART_USES)
        string(REPLACE "/" "_" used "${used}")
        if(TARGET eider_${used})
            target_link_libraries(eider_${name} PUBLIC eider_${used})
        endif()
    endforeach()
    target_link_libraries(eider_${name} PUBLIC ${PART_LIBS} Threads::Threads m)
    set_property(GLOBAL APPEND PROPERTY EIDER_PARTS eider_${name})
    foreach(test IN LISTS tests)
        get_filename_component(unit "${test}" NAME_WE)
        set(target ${name}_${unit})
        add_executable(${target} "${test}")
        target_link_libraries(${target} PRIVATE eider_${name} ${CMOCKA_LIB})
        foreach(extra IN LISTS PART_TESTS)
            string(REPLACE "/" "_" extra "${extra}")
            target_link_libraries(${target} PRIVATE eider_${extra})
        endforeach()
        add_test(NAME ${target} COMMAND ${target})
        # Against hanging alone: the contract of the stores takes minutes under a sanitizer.
        set_tests_properties(${target} PROPERTIES TIMEOUT 900 LABELS unit)
    endforeach()
endfunction()

function(eider_program)
    if(NOT EXISTS "${CMAKE_SOURCE_DIR}/src/main.c")
        return()
    endif()
    get_property(parts GLOBAL PROPERTY EIDER_PARTS)
    list(REVERSE parts)
    add_executable(eider "${CMAKE_SOURCE_DIR}/src/main.c")
    target_link_libraries(eider PRIVATE ${parts})
    install(TARGETS eider RUNTIME DESTINATION bin)
    install(FILES "${CMAKE_BINARY_DIR}/lib/libduckdb.so" DESTINATION lib/eider)
endfunction()

function(eider_fuzzers)
    file(GLOB targets CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/fuzz/*_fuzz.c")
    get_property(parts GLOBAL PROPERTY EIDER_PARTS)
    list(REVERSE parts)
    foreach(source IN LISTS targets)
        get_filename_component(target "${source}" NAME_WE)
        set(corpus "${CMAKE_SOURCE_DIR}/fuzz/corpus/${target}")
        if(EIDER_FUZZ)
            add_executable(${target} "${source}")
            target_compile_options(${target} PRIVATE -fsanitize=fuzzer)
            target_link_options(${target} PRIVATE -fsanitize=fuzzer)
        else()
            add_executable(${target} "${source}" "${CMAKE_SOURCE_DIR}/fuzz/replay.c")
            add_test(NAME ${target} COMMAND ${target} "${corpus}")
            set_tests_properties(${target} PROPERTIES TIMEOUT 120 LABELS fuzz)
        endif()
        target_link_libraries(${target} PRIVATE ${parts})
        # Oracles: independent implementations that a target compares with.
        if(target STREQUAL "http_head_fuzz")
            target_link_libraries(${target} PRIVATE http_parser)
        elseif(target STREQUAL "ws_frame_fuzz")
            target_link_libraries(${target} PRIVATE wslay)
        endif()
    endforeach()
endfunction()

# eider_benches() builds bench/*.c, the load generators of `make bench`.
function(eider_benches)
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/bench/*.c")
    get_property(parts GLOBAL PROPERTY EIDER_PARTS)
    list(REVERSE parts)
    foreach(source IN LISTS sources)
        get_filename_component(name "${source}" NAME_WE)
        add_executable(bench_${name} "${source}")
        target_link_libraries(bench_${name} PRIVATE ${parts})
    endforeach()
endfunction()

# eider_library(PUBLIC client PARTS meter ... MAP src/client/libeider.map)
#   bundles the public parts, and of the others what those need, into the library: libeider.so, which exports what the
#   map names, and libeider.a, one object whose other symbols are local, so that it cannot clash with
#   the names of a program. Installs both with include/eider/*.h and eider.pc. The target `libeider`
#   builds them; they are not part of `all`. A new public part is one more name in PUBLIC.
function(eider_library)
    cmake_parse_arguments(LIB "" "MAP" "PUBLIC;PARTS" ${ARGN})
    set(map "${CMAKE_SOURCE_DIR}/${LIB_MAP}")
    set(targets "")
    foreach(kind PUBLIC PARTS)
        set(${kind}_archives "")
        foreach(part IN LISTS LIB_${kind})
            string(REPLACE "/" "_" name "${part}")
            list(APPEND targets eider_${name})
            list(APPEND ${kind}_archives "$<TARGET_FILE:eider_${name}>")
        endforeach()
    endforeach()
    string(REGEX MATCH "^[0-9]+\\.[0-9]+" soversion "${PROJECT_VERSION}")
    set(EIDER_LIBDIR lib)

    # All objects as one; with LTO this is where the code is made.
    set(bundle "${CMAKE_BINARY_DIR}/libeider-bundle.o")
    set(relocatable -r -nostdlib)
    if(CMAKE_INTERPROCEDURAL_OPTIMIZATION AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
        list(APPEND relocatable -O2 -fPIC -flto=auto -flinker-output=nolto-rel)
    endif()
    add_custom_command(
        OUTPUT "${bundle}"
        COMMAND "${CMAKE_C_COMPILER}" ${relocatable} -o "${bundle}"
                -Wl,--whole-archive ${PUBLIC_archives} -Wl,--no-whole-archive
                -Wl,--start-group ${PARTS_archives} -Wl,--end-group
        COMMAND "${CMAKE_OBJCOPY}" --localize-hidden "${bundle}"
        DEPENDS ${targets}
        COMMENT "Bundling libeider"
        VERBATIM)
    file(WRITE "${CMAKE_BINARY_DIR}/generated/libeider.c"
         "/* The library is made of one object; CMake wants a source. */\ntypedef int eider_none;\n")
    set(source "${CMAKE_BINARY_DIR}/generated/libeider.c" "${bundle}")

    add_library(eider_static STATIC EXCLUDE_FROM_ALL ${source})
    add_library(eider_shared SHARED EXCLUDE_FROM_ALL ${source})
    foreach(target eider_static eider_shared)
        set_target_properties(${target} PROPERTIES
            OUTPUT_NAME eider LINKER_LANGUAGE C INTERPROCEDURAL_OPTIMIZATION OFF)
    endforeach()
    set_source_files_properties("${bundle}" PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    set_target_properties(eider_shared PROPERTIES
        VERSION "${PROJECT_VERSION}" SOVERSION "${soversion}" LINK_DEPENDS "${map}"
        INSTALL_RPATH "$ORIGIN/eider")
    target_link_options(eider_shared PRIVATE
        "-Wl,--version-script=${map}" -Wl,--no-undefined -Wl,--gc-sections)
    target_link_libraries(eider_shared PRIVATE
        CURL::libcurl OpenSSL::SSL OpenSSL::Crypto PkgConfig::XXHASH PkgConfig::YAML
        PkgConfig::JANSSON PkgConfig::PQ ZLIB::ZLIB eider_duckdb Threads::Threads m)
    add_custom_target(libeider DEPENDS eider_static eider_shared)

    # The prefix is known when it is installed.
    file(WRITE "${CMAKE_BINARY_DIR}/generated/install-pc.cmake" "
        set(EIDER_LIBDIR ${EIDER_LIBDIR})
        set(PROJECT_VERSION ${PROJECT_VERSION})
        get_filename_component(CMAKE_INSTALL_PREFIX \"\${CMAKE_INSTALL_PREFIX}\" ABSOLUTE)
        configure_file(\"${CMAKE_SOURCE_DIR}/cmake/eider.pc.in\"
                       \"${CMAKE_BINARY_DIR}/generated/eider.pc\" @ONLY)")
    install(SCRIPT "${CMAKE_BINARY_DIR}/generated/install-pc.cmake")
    install(TARGETS eider_shared eider_static
            LIBRARY DESTINATION ${EIDER_LIBDIR} ARCHIVE DESTINATION ${EIDER_LIBDIR})
    install(FILES "${CMAKE_BINARY_DIR}/generated/eider.pc"
            DESTINATION ${EIDER_LIBDIR}/pkgconfig)
    install(DIRECTORY "${CMAKE_SOURCE_DIR}/include/eider" DESTINATION include
            FILES_MATCHING PATTERN "*.h")
endfunction()
