// runnel: one executable, three roles. Picks the role, builds its objects, runs it.
#include "command_line.h"

int main(int argc, char** argv) {
  return runnel::run_command_line(argc, argv);
}
