# CMake generated Testfile for 
# Source directory: /tmp/hG/tests/deploy
# Build directory: /tmp/hG/tests/deploy
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[scripts_test]=] "/usr/bin/python3" "/tmp/hG/tests/deploy/scripts_test.py")
set_tests_properties([=[scripts_test]=] PROPERTIES  TIMEOUT "60" _BACKTRACE_TRIPLES "/tmp/hG/tests/deploy/CMakeLists.txt;1;add_test;/tmp/hG/tests/deploy/CMakeLists.txt;0;")
