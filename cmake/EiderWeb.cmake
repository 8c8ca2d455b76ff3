# eider_web_assets() adds the dashboard to the part `web`: scripts/build-web makes web/dist,
# scripts/embed makes a C source of it in the build folder.

function(eider_web_assets)
    file(GLOB_RECURSE web_files CONFIGURE_DEPENDS
         "${CMAKE_SOURCE_DIR}/web/src/*" "${CMAKE_SOURCE_DIR}/web/styles/*"
         "${CMAKE_SOURCE_DIR}/web/public/*")
    set(generated "${CMAKE_BINARY_DIR}/generated/web_assets_data.c")
    add_custom_command(
        OUTPUT "${generated}"
        COMMAND "${CMAKE_SOURCE_DIR}/scripts/build-web"
        COMMAND "${CMAKE_SOURCE_DIR}/scripts/embed" "${CMAKE_SOURCE_DIR}/web/dist" "${generated}"
        DEPENDS ${web_files}
                "${CMAKE_SOURCE_DIR}/web/index.html" "${CMAKE_SOURCE_DIR}/web/docs.html"
                "${CMAKE_SOURCE_DIR}/web/tsconfig.json" "${CMAKE_SOURCE_DIR}/web/vite.config.mjs"
                "${CMAKE_SOURCE_DIR}/package-lock.json"
                "${CMAKE_SOURCE_DIR}/scripts/build-web" "${CMAKE_SOURCE_DIR}/scripts/embed"
        COMMENT "Building the dashboard"
        VERBATIM)
    target_sources(eider_web PRIVATE "${generated}")
endfunction()
