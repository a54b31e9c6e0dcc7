// runnel: one executable, three roles. Picks the role, builds its objects, runs it.
#include <fmt/core.h>

int main() {
  fmt::print(stderr, "runnel: no role is built in yet\n");
  return 2;
}
