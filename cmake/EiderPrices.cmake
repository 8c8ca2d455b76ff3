# eider_price_books() adds the shipped price books, prices/*.yaml, to the part `meter`:
# scripts/embed-prices makes a C source of them in the build folder.

function(eider_price_books)
    file(GLOB books CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/prices/*.yaml")
    set(generated "${CMAKE_BINARY_DIR}/generated/prices_shipped.c")
    add_custom_command(
        OUTPUT "${generated}"
        COMMAND "${CMAKE_SOURCE_DIR}/scripts/embed-prices" "${CMAKE_SOURCE_DIR}/prices"
                "${generated}"
        DEPENDS ${books} "${CMAKE_SOURCE_DIR}/scripts/embed-prices"
        COMMENT "Embedding the price books"
        VERBATIM)
    target_sources(eider_meter PRIVATE "${generated}")
endfunction()
