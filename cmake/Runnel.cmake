# How a folder of src/ becomes a library and a test program.

include(GoogleTest)  # here, so that its variables are seen in every folder
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)

add_library(runnel_flags INTERFACE)
target_compile_options(runnel_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor
  -Wno-missing-designated-field-initializers -Werror)
target_include_directories(runnel_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(runnel_flags INTERFACE
  _FILE_OFFSET_BITS=64 RUNNEL_VERSION="${PROJECT_VERSION}")
if(RUNNEL_SANITIZE)
  # The vptr check opens a pipe to look at memory, and takes a failure (a test runs out of descriptors
  # on purpose) for an error of the program.
  target_compile_options(runnel_flags INTERFACE
    -fsanitize=${RUNNEL_SANITIZE} -fno-sanitize=vptr -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(runnel_flags INTERFACE -fsanitize=${RUNNEL_SANITIZE})
endif()
if(RUNNEL_FUZZ)
  target_compile_options(runnel_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(runnel_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# runnel_library(NAME [DEPENDS folder...] [LINK library...])
#
# One folder of src/ is one library. DEPENDS names the folders it may include from (the arrows of
# docs/architecture.md; tools/check-layers holds the includes to them); LINK names third-party
# targets. Every *_test.cc of the folder goes into one test program, NAME_test, of which each test
# case becomes a ctest test.
function(runnel_library name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc *.h)
  file(GLOB tests CONFIGURE_DEPENDS *_test.cc)
  if(tests)
    list(REMOVE_ITEM sources ${tests})
  endif()

  add_library(runnel_${name} STATIC ${sources})
  set_target_properties(runnel_${name} PROPERTIES LINKER_LANGUAGE CXX)
  list(TRANSFORM arg_DEPENDS PREPEND runnel_)
  target_link_libraries(runnel_${name}
    PUBLIC runnel_flags fmt::fmt Threads::Threads ${arg_DEPENDS} ${arg_LINK})

  if(RUNNEL_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE runnel_${name} runnel_test_support)
    gtest_discover_tests(${name}_test TEST_PREFIX ${name}/ DISCOVERY_TIMEOUT 60
      PROPERTIES TIMEOUT 300)
  endif()
endfunction()
