#include "startup/startup.h"

#include <algorithm>
#include <array>
#include <set>

#include "startup/javascript.h"
#include "startup/libraries.h"
#include "startup/python.h"
#include "startup/reads.h"
#include "startup/script.h"

namespace runnel::startup {

namespace {

constexpr int kMaxDepth = 8;  // of programs that start programs
constexpr size_t kMaxPrograms = 256;
constexpr uint64_t kMaxScript = 256 << 10;
constexpr uint64_t kWholeProgram = 16 << 20;
constexpr uint64_t kWholeArgument = 1 << 20;
constexpr uint64_t kWholeSetting = 64 << 10;
constexpr size_t kMaxSettings = 64;
constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::vector<std::string> directories(std::string_view list) {
  std::vector<std::string> out;
  while (!list.empty()) {
    const auto part = list.substr(0, list.find(':'));
    list.remove_prefix(std::min(list.size(), part.size() + 1));
    if (part.starts_with('/')) out.emplace_back(part);
  }
  return out;
}

bool is_shell(std::string_view name) {
  constexpr std::array<std::string_view, 5> kShells = {"sh", "bash", "dash", "ash", "busybox"};
  return std::ranges::find(kShells, name) != kShells.end();
}

// One start: what follows what, each program once.
class Start {
 public:
  Start(const oci::Process& process, ImageFiles& files, Reads& reads, Libraries& libraries)
      : process_(process),
        files_(files),
        reads_(reads),
        libraries_(libraries),
        path_(directories(variable("PATH").value_or(kDefaultPath))),
        working_directory_(process.working_directory.starts_with('/') ? process.working_directory
                                                                      : "/") {}

  Result<void> run() {
    add_what_all_read();
    RUNNEL_DO(program(process_.arguments, 0));
    add_locale();
    if (!process_.arguments.empty()) add_settings(base_name(process_.arguments.front()));
    return {};
  }

 private:
  std::optional<std::string_view> variable(std::string_view name) const {
    for (const auto& each : process_.environment)
      if (each.starts_with(name) && each.size() > name.size() && each[name.size()] == '=')
        return std::string_view(each).substr(name.size() + 1);
    return std::nullopt;
  }

  std::optional<ImageFiles::Found> find_program(const std::string& name) const {
    if (name.find('/') != std::string::npos) return files_.find_file(name, working_directory_);
    for (const auto& directory : path_)
      if (auto found = files_.find_file(joined_path(directory, name))) return found;
    return std::nullopt;
  }

  // How the program was called, before links: a virtual environment is known by that.
  std::string called(const std::string& name) const {
    if (name.find('/') != std::string::npos)
      return name.starts_with('/') ? name : joined_path(working_directory_, name);
    for (const auto& directory : path_)
      if (files_.find_file(joined_path(directory, name))) return joined_path(directory, name);
    return name;
  }

  Result<void> program(std::vector<std::string> arguments, int depth) {
    if (arguments.empty() || depth > kMaxDepth || programs_ >= kMaxPrograms) return {};
    const auto file = find_program(arguments.front());
    if (!file) return {};
    ++programs_;
    RUNNEL_TRY(const bool is_elf, libraries_.load(*file));
    reads_.add_file(file->inode, kWholeProgram);
    if (is_elf) return runs(*file, arguments, depth);
    return script(*file, std::move(arguments), depth);
  }

  // "#!/bin/sh": that program, with the script as its argument.
  Result<void> script(const ImageFiles::Found& file, std::vector<std::string> arguments,
                      int depth) {
    RUNNEL_TRY(const auto head, files_.read(file.inode, 0, 256));
    auto interpreter = interpreter_of(as_text(head));
    if (interpreter.empty()) return {};
    arguments.front() = file.path;
    interpreter.insert(interpreter.end(), arguments.begin(), arguments.end());
    return program(std::move(interpreter), depth + 1);
  }

  Result<void> runs(const ImageFiles::Found& file, const std::vector<std::string>& arguments,
                    int depth) {
    const auto name = base_name(file.path);
    const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
    if (Python::is_interpreter(name)) {
      Python python(files_, reads_, libraries_);
      return python.start(called(arguments.front()), file, rest,
                          directories(variable("PYTHONPATH").value_or("")), working_directory_);
    }
    if (JavaScript::is_interpreter(name)) {
      JavaScript javascript(files_, reads_, libraries_,
                            directories(variable("NODE_PATH").value_or("/usr/share/nodejs")));
      return javascript.start(rest, working_directory_);
    }
    if (is_shell(name) || is_shell(base_name(arguments.front()))) return shell(rest, depth);
    add_arguments(rest);
    return wrapped(rest, depth);
  }

  // "sh -c TEXT", or "sh SCRIPT ARGUMENT…", whose arguments are mostly a process.
  Result<void> shell(const std::vector<std::string>& arguments, int depth) {
    for (size_t i = 0; i < arguments.size(); ++i) {
      const auto& each = arguments[i];
      const bool is_text = each.starts_with('-') && each.ends_with('c') && i + 1 < arguments.size();
      if (is_text) return shell_text(arguments[i + 1], depth);
      if (each.starts_with('-')) continue;
      const auto file = files_.find_file(each, working_directory_);
      if (!file) return {};
      RUNNEL_DO(shell_script(*file, depth));
      return program({arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end()},
                     depth + 1);
    }
    return {};
  }

  Result<void> shell_script(const ImageFiles::Found& file, int depth) {
    if (depth > kMaxDepth || !scripts_.insert(file.inode).second) return {};
    reads_.add_file(file.inode, kMaxScript);
    RUNNEL_TRY(const auto text, files_.read(file.inode, 0, kMaxScript));
    return shell_text(std::string(as_text(text)), depth);
  }

  Result<void> shell_text(const std::string& text, int depth) {
    const auto words = shell_words(text);
    for (const auto& name : words.sourced)
      if (const auto file = files_.find_file(name, working_directory_))
        RUNNEL_DO(shell_script(*file, depth + 1));
    for (const auto& name : words.commands) {
      const auto file = find_program(name);
      if (!file || !called_.insert(file->inode).second) continue;
      RUNNEL_DO(program({name}, depth + 1));
    }
    return {};
  }

  // "tini -- PROGRAM ARGUMENT…": the first argument that names a program, if it is no option's.
  Result<void> wrapped(const std::vector<std::string>& arguments, int depth) {
    for (size_t i = 0; i < arguments.size(); ++i) {
      const auto& each = arguments[i];
      if (each.starts_with('-') || each.find('=') != std::string::npos) continue;
      const auto file = find_program(each);
      if (!file) continue;
      return program({arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end()},
                     depth + 1);
    }
    return {};
  }

  void add_arguments(const std::vector<std::string>& arguments) {
    for (const auto& each : arguments)
      if (const auto file = files_.find_file(each, working_directory_); file && !each.empty())
        reads_.add_file(file->inode, kWholeArgument);
  }

  void add_named(std::string_view path) {
    if (const auto file = files_.find_file(path)) reads_.add_file(file->inode, kWholeArgument);
  }

  void add_what_all_read() {
    for (const auto* path : {"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/passwd", "/etc/group",
                             "/etc/nsswitch.conf", "/etc/localtime", "/etc/ssl/openssl.cnf",
                             "/usr/lib/ssl/openssl.cnf", "/usr/share/locale/locale.alias",
                             "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
                             "/usr/lib/aarch64-linux-gnu/gconv/gconv-modules.cache"})
      add_named(path);
  }

  // "C.UTF-8" is the directory C.utf8; of others the archive has all.
  void add_locale() {
    std::string_view name;
    for (const auto* each : {"LC_ALL", "LC_CTYPE", "LANG"})
      if (name.empty()) name = variable(each).value_or("");
    if (name.empty()) name = "C.UTF-8";  // what Python takes then (PEP 538), and others
    if (name.find('/') != std::string_view::npos) return;
    std::string directory(name.substr(0, name.find('.')));
    if (name.find('.') != std::string_view::npos) directory += ".utf8";
    if (const auto found = files_.find_directory("/usr/lib/locale/" + directory)) {
      for (const auto& each : files_.names(found->inode)) add_named(joined_path(found->path, each));
    } else if (const auto archive = files_.find_file("/usr/lib/locale/locale-archive")) {
      reads_.add_file(archive->inode, kWholeSetting);
    }
  }

  // /etc/NAME, /etc/NAME.conf and what is small below.
  void add_settings(std::string_view name) {
    const auto base = "/etc/" + std::string(name);
    if (const auto file = files_.find_file(base + ".conf"))
      reads_.add_file(file->inode, kWholeSetting);
    std::vector<std::string> next;
    if (const auto found = files_.find_directory(base)) next.push_back(found->path);
    for (size_t looked = 0; !next.empty() && looked < kMaxSettings;) {
      const auto directory = std::move(next.back());
      next.pop_back();
      const auto found = files_.find_directory(directory);
      if (!found) continue;
      for (const auto& each : files_.names(found->inode)) {
        if (++looked > kMaxSettings) break;
        const auto path = joined_path(directory, each);
        if (const auto file = files_.find_file(path)) {
          if (files_.size(file->inode) <= kWholeSetting)
            reads_.add_file(file->inode, kWholeSetting);
        } else {
          next.push_back(path);
        }
      }
    }
  }

  const oci::Process& process_;
  ImageFiles& files_;
  Reads& reads_;
  Libraries& libraries_;
  const std::vector<std::string> path_;
  const std::string working_directory_;
  size_t programs_ = 0;
  std::set<uint32_t> scripts_;  // that a shell runs
  std::set<uint32_t> called_;   // by shell scripts
};

}  // namespace

Result<std::vector<Range>> guess(const oci::Process& process, ImageFiles& files) {
  Reads reads(files);
  std::vector<std::string> search;
  constexpr std::string_view kSearch = "LD_LIBRARY_PATH=";
  for (const auto& each : process.environment)
    if (each.starts_with(kSearch))
      search = directories(std::string_view(each).substr(kSearch.size()));
  RUNNEL_TRY(auto libraries, Libraries::open(files, reads, std::move(search)));
  Start start(process, files, reads, libraries);
  RUNNEL_DO(start.run());
  return reads.take();
}

}  // namespace runnel::startup
