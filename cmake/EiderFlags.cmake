# Compiler settings of every target: style.md's warnings, sanitizers, hardening.
set(EIDER_WARNINGS
    -Wall -Wextra -Werror -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wformat=2 -Wcast-qual -Wundef -Wswitch -fvisibility=hidden)
add_compile_options(${EIDER_WARNINGS})
add_compile_definitions(_GNU_SOURCE EIDER_VERSION="${PROJECT_VERSION}")
include_directories("${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/include")

if(EIDER_SANITIZE)
    add_compile_options(-fsanitize=${EIDER_SANITIZE} -fno-omit-frame-pointer
                        -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${EIDER_SANITIZE})
    add_compile_definitions(EIDER_SANITIZED=1)
else()
    add_compile_definitions(EIDER_SANITIZED=0)
endif()

if(EIDER_COVERAGE)
    add_compile_options(--coverage)
    add_link_options(--coverage)
endif()

if(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
    # Asserts stay on in release (style.md); hardening as distributions do it.
    string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
    string(REPLACE "-O3" "-O2" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
    string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO "${CMAKE_C_FLAGS_RELWITHDEBINFO}")
    add_compile_options(-fstack-protector-strong -D_FORTIFY_SOURCE=2 -fno-plt)
    add_link_options(-Wl,-z,relro -Wl,-z,now)
endif()
