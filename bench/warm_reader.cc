// What bench/warm-reads does to a tree besides fio, find and tar: storms of stat(2), faults of a
// mapping in random order, and programs started from it. Prints the seconds that it took.
//
// One process without an interpreter, because what is compared takes a microsecond each.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "base/fd.h"

namespace {

namespace fs = std::filesystem;

constexpr size_t kPage = 4096;

[[noreturn]] void give_up(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::vector<std::string> paths_below(const std::string& root) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) found.push_back(entry.path());
  if (found.empty()) throw std::runtime_error(root + " is empty");
  return found;
}

double stat_storm(const std::string& root, int rounds) {
  auto paths = paths_below(root);
  std::ranges::shuffle(paths, std::mt19937_64(1));  // NOLINT(bugprone-random-generator-seed)
  const auto begin = std::chrono::steady_clock::now();
  for (int round = 0; round < rounds; ++round) {
    for (const auto& path : paths) {
      struct stat info;
      if (::lstat(path.c_str(), &info) != 0) give_up("lstat " + path);
    }
  }
  return seconds_since(begin);
}

// A byte of each page, in random order; every round maps anew, so that every round faults.
double map_faults(const std::string& path, int rounds) {
  const runnel::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) give_up("open " + path);
  const uint64_t size = fs::file_size(path);
  std::vector<uint64_t> pages(size / kPage);
  for (uint64_t i = 0; i < pages.size(); ++i) pages[i] = i;
  std::ranges::shuffle(pages, std::mt19937_64(1));  // NOLINT(bugprone-random-generator-seed)
  uint64_t sum = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int round = 0; round < rounds; ++round) {
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
    if (mapped == MAP_FAILED) give_up("mmap " + path);
    const auto* bytes = static_cast<const volatile unsigned char*>(mapped);
    for (const uint64_t page : pages) sum += bytes[page * kPage];
    ::munmap(mapped, size);
  }
  const double seconds = seconds_since(begin);
  std::fprintf(stderr, "%ju\n", static_cast<uintmax_t>(sum));  // or the reads are optimised away
  return seconds;
}

double starts(const std::string& root, const std::string& program, int count) {
  if (::chroot(root.c_str()) != 0 || ::chdir("/") != 0) give_up("chroot " + root);
  std::string name = program;
  char* const argv[] = {name.data(), nullptr};
  char* const environment[] = {nullptr};
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) {
    pid_t child = 0;
    errno = ::posix_spawn(&child, program.c_str(), nullptr, nullptr, argv, environment);
    if (errno != 0) give_up("start " + program);
    int status = 0;
    if (::waitpid(child, &status, 0) != child || status != 0) {
      throw std::runtime_error(program + " did not end well");
    }
  }
  return seconds_since(begin);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Reads a tree whose pages are in memory, and prints seconds.");
  std::string path;
  std::string program = "/bin/true";
  int count = 1;
  auto* stat = app.add_subcommand("stat", "lstat of every path below a directory, in random order");
  auto* map = app.add_subcommand("mmap", "a byte of each page of a file, in random order");
  auto* exec = app.add_subcommand("exec", "programs started in a directory as their root");
  for (auto* each : {stat, map, exec}) {
    each->add_option("path", path)->required();
    each->add_option("--count", count)->check(CLI::Range(1, 1'000'000));
  }
  exec->add_option("--program", program);
  app.require_subcommand(1);
  CLI11_PARSE(app, argc, argv);
  try {
    const double seconds = *stat  ? stat_storm(path, count)
                           : *map ? map_faults(path, count)
                                  : starts(path, program, count);
    std::printf("%.6f\n", seconds);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "runnel-warm-reader: %s\n", failure.what());
    return 1;
  }
  return 0;
}
