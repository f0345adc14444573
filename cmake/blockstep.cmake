# One way to make a library, a program and a test.

find_program(BLOCKSTEP_CCACHE ccache)
if(BLOCKSTEP_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${BLOCKSTEP_CCACHE})
endif()

add_library(blockstep_flags INTERFACE)
target_include_directories(blockstep_flags INTERFACE ${PROJECT_SOURCE_DIR})
# -ffp-contract=off: a fused multiply-add appears only where the source writes one (docs/numerics.md).
target_compile_options(blockstep_flags INTERFACE -Wall -Wextra -Wno-missing-field-initializers
  -ffp-contract=off)
if(BLOCKSTEP_SANITIZE)
  target_compile_options(blockstep_flags INTERFACE -fsanitize=${BLOCKSTEP_SANITIZE}
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(blockstep_flags INTERFACE -fsanitize=${BLOCKSTEP_SANITIZE})
endif()

# blockstep_library(NAME SRCS ... DEPS ...): target blockstep_NAME, alias blockstep::NAME.
function(blockstep_library NAME)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  if(ARG_SRCS)
    add_library(blockstep_${NAME} STATIC ${ARG_SRCS})
    target_link_libraries(blockstep_${NAME} PUBLIC blockstep_flags ${ARG_DEPS})
    set_target_properties(blockstep_${NAME} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  else()
    add_library(blockstep_${NAME} INTERFACE)
    target_link_libraries(blockstep_${NAME} INTERFACE blockstep_flags ${ARG_DEPS})
  endif()
  add_library(blockstep::${NAME} ALIAS blockstep_${NAME})
endfunction()

# blockstep_test(NAME SRCS ... DEPS ... [DATA dir] [TIMEOUT s] [LABELS ...]): one gtest program, one ctest entry.
function(blockstep_test NAME)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SRCS;DEPS;LABELS" ${ARGN})
  add_executable(${NAME} ${ARG_SRCS})
  target_link_libraries(${NAME} PRIVATE blockstep_flags ${ARG_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${NAME} PRIVATE BLOCKSTEP_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${NAME} COMMAND ${NAME})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)  # a last resort: ends what hangs, at a quarter of the speed too
  endif()
  set_tests_properties(${NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()
