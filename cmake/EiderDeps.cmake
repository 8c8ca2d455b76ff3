# What Eider takes from the system (Debian) and from node_modules (DuckDB, see scripts/bootstrap).
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CURL REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(NATS REQUIRED IMPORTED_TARGET libnats)
pkg_check_modules(PQ REQUIRED IMPORTED_TARGET libpq)
find_library(CMOCKA_LIB cmocka REQUIRED)

# A system libduckdb wins; otherwise the library comes from npm's prebuilt package and the header
# from the source that the npm package `duckdb` ships.
find_library(DUCKDB_LIB duckdb)
find_path(DUCKDB_INCLUDE duckdb.h)
if(NOT DUCKDB_LIB OR NOT DUCKDB_INCLUDE)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
        set(duckdb_arch arm64)
    else()
        set(duckdb_arch x64)
    endif()
    set(DUCKDB_LIB
        "${CMAKE_SOURCE_DIR}/node_modules/@duckdb/node-bindings-linux-${duckdb_arch}/libduckdb.so"
        CACHE FILEPATH "" FORCE)
    set(DUCKDB_INCLUDE "${CMAKE_SOURCE_DIR}/node_modules/duckdb/src/duckdb/src/include"
        CACHE PATH "" FORCE)
endif()
if(NOT EXISTS "${DUCKDB_LIB}" OR NOT EXISTS "${DUCKDB_INCLUDE}/duckdb.h")
    message(FATAL_ERROR "libduckdb is missing; run scripts/bootstrap first")
endif()

# The program looks for the library beside itself and in ../lib/eider, so it is copied there.
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/lib" "${CMAKE_BINARY_DIR}/include")
file(COPY_FILE "${DUCKDB_LIB}" "${CMAKE_BINARY_DIR}/lib/libduckdb.so" ONLY_IF_DIFFERENT)
file(COPY_FILE "${DUCKDB_INCLUDE}/duckdb.h" "${CMAKE_BINARY_DIR}/include/duckdb.h"
     ONLY_IF_DIFFERENT)
add_library(eider_duckdb SHARED IMPORTED)
set_target_properties(eider_duckdb PROPERTIES
    IMPORTED_LOCATION "${CMAKE_BINARY_DIR}/lib/libduckdb.so"
    IMPORTED_NO_SONAME ON)
target_include_directories(eider_duckdb SYSTEM INTERFACE "${CMAKE_BINARY_DIR}/include")
set(CMAKE_BUILD_RPATH "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib/eider")
