# cmake -D ROOT=... -D VERSION=... -D OUT=file.cc -P build_identity.cmake, at every build: which sources this
# is, by their content. Equal sources give an equal name on every host, from a clone, a work tree with
# changes or an archive; tests, documents and commits that change neither do not change it. OUT is touched
# only when what it says has changed.
set(dirs core model optim dist launcher proto cmake)
set(found "${ROOT}/CMakeLists.txt")
foreach(dir ${dirs})
  foreach(pattern *.cc *.h *.c *.cu *.proto *.cmake CMakeLists.txt)
    file(GLOB_RECURSE files "${ROOT}/${dir}/${pattern}")
    list(APPEND found ${files})
  endforeach()
endforeach()
list(REMOVE_DUPLICATES found)
list(SORT found)
set(all "")
foreach(path ${found})
  file(SHA256 "${path}" hash)
  file(RELATIVE_PATH name "${ROOT}" "${path}")
  string(APPEND all "${name} ${hash}\n")
endforeach()
string(SHA256 sources "${all}")
string(SUBSTRING "${sources}" 0 16 sources)

# For people; no part of what is compared.
set(commit "none")
execute_process(COMMAND git -C "${ROOT}" describe --always --dirty --exclude=*
  OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(NOT failed)
  set(commit "${described}")
endif()

set(text "#include \"launcher/cli/build_identity.h\"

namespace blockstep {

const char* BuildIdentity() { return \"blockstep ${VERSION} sources ${sources}\"; }
const char* BuildCommit() { return \"${commit}\"; }

}  // namespace blockstep
")
set(old "")
if(EXISTS "${OUT}")
  file(READ "${OUT}" old)
endif()
if(NOT old STREQUAL text)
  file(WRITE "${OUT}" "${text}")
endif()
