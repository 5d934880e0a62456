# One target per folder ("room"). A room compiles every .cc of its folder except *_test.cc, which become one test
# program per room. DEPS are other rooms, so that the edges here are the allowed include edges; LIBS are libraries.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # Precompiled headers need the relaxed comparison; clang must not store time stamps in them.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
endif()

add_library(tutti_options INTERFACE)
target_compile_options(tutti_options INTERFACE -fPIC -Wall -Wextra -Werror -Wno-unused-parameter
                       $<$<CXX_COMPILER_ID:Clang>:-Xclang=-fno-pch-timestamp -Wthread-safety>)
# Floating point contraction only where a kernel writes it: results must not depend on inlining decisions.
target_compile_options(tutti_options INTERFACE -ffp-contract=off)
target_include_directories(tutti_options INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
if(TUTTI_SANITIZE)
  target_compile_options(tutti_options INTERFACE -fsanitize=${TUTTI_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(tutti_options INTERFACE -fsanitize=${TUTTI_SANITIZE})
endif()
if(TUTTI_BUILD_FUZZ)
  # Coverage in every room: without it libFuzzer does not see which inputs reach something new.
  target_compile_options(tutti_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
find_package(Threads REQUIRED)
target_link_libraries(tutti_options INTERFACE Threads::Threads)

function(tutti_precompile target)
  target_precompile_headers(${target} PRIVATE
    <algorithm> <array> <atomic> <chrono> <cmath> <condition_variable> <cstdint> <cstring> <deque> <filesystem>
    <functional> <map> <memory> <mutex> <numeric> <optional> <span> <string> <string_view> <thread> <unordered_map>
    <utility> <variant> <vector>)
endfunction()

add_library(tutti_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
target_link_libraries(tutti_pch PRIVATE tutti_options)
tutti_precompile(tutti_pch)

# tutti_room(name [DEPS room...] [LIBS lib...] [TEST_DEPS room...] [TEST_LIBS lib...] [SUBFOLDERS])
# SUBFOLDERS: the room's folders belong to it too (one per model family).
function(tutti_room name)
  cmake_parse_arguments(ROOM "SUBFOLDERS" "" "DEPS;LIBS;TEST_DEPS;TEST_LIBS;SOURCES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  if(ROOM_SUBFOLDERS)
    file(GLOB more CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*/*.cc)
    list(APPEND sources ${more})
  endif()
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(TRANSFORM ROOM_DEPS PREPEND tutti_)
  list(TRANSFORM ROOM_TEST_DEPS PREPEND tutti_)
  if(sources)
    add_library(tutti_${name} STATIC ${sources})
    target_link_libraries(tutti_${name} PUBLIC tutti_options ${ROOM_DEPS} ${ROOM_LIBS})
    target_precompile_headers(tutti_${name} REUSE_FROM tutti_pch)
  else()
    add_library(tutti_${name} INTERFACE)
    target_link_libraries(tutti_${name} INTERFACE tutti_options ${ROOM_DEPS} ${ROOM_LIBS})
  endif()
  if(TUTTI_BUILD_TESTS AND tests)
    tutti_test(${name}_test ${tests})
    target_link_libraries(tutti_${name}_test PRIVATE tutti_${name} ${ROOM_TEST_DEPS} ${ROOM_TEST_LIBS})
  endif()
endfunction()

# tutti_test(name source...): a GoogleTest program that CTest runs; tests run with the source tree's tests/data.
function(tutti_test name)
  add_executable(tutti_${name} ${ARGN})
  target_link_libraries(tutti_${name} PRIVATE tutti_options GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(tutti_${name} PRIVATE TUTTI_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data"
                             TUTTI_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_precompile_headers(tutti_${name} REUSE_FROM tutti_pch)
  add_test(NAME ${name} COMMAND tutti_${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300)
endfunction()
