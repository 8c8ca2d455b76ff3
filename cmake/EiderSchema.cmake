# eider_schema_migrations() adds the migrations, src/schema/<dialect>/*.sql, to the part `schema`:
# scripts/embed-schema makes a C source of them in the build folder.

function(eider_schema_migrations)
    file(GLOB files CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/schema/*/*.sql")
    set(generated "${CMAKE_BINARY_DIR}/generated/schema_lists.c")
    add_custom_command(
        OUTPUT "${generated}"
        COMMAND "${CMAKE_SOURCE_DIR}/scripts/embed-schema" "${CMAKE_SOURCE_DIR}/src/schema"
                "${generated}"
        DEPENDS ${files} "${CMAKE_SOURCE_DIR}/scripts/embed-schema"
        COMMENT "Embedding the schema migrations"
        VERBATIM)
    target_sources(eider_schema PRIVATE "${generated}")
endfunction()
