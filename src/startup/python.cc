#include "startup/python.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace runnel::startup {

namespace {

constexpr size_t kMaxModules = 20'000;
constexpr uint64_t kMaxSource = 2 << 20;
constexpr uint64_t kWholeModule = 4 << 20;
constexpr size_t kMaxPath = 256;  // directories
constexpr int kFirstWithFrozen = 11;

// From 3.11 on these are within the interpreter (Python/frozen.c), and their files are not read.
constexpr std::array<std::string_view, 13> kFrozen = {"_collections_abc",
                                                      "_sitebuiltins",
                                                      "abc",
                                                      "codecs",
                                                      "genericpath",
                                                      "importlib._bootstrap",
                                                      "importlib._bootstrap_external",
                                                      "io",
                                                      "ntpath",
                                                      "os",
                                                      "posixpath",
                                                      "site",
                                                      "stat"};

// The number N of "python3.N"; nothing of other names.
std::optional<int> minor_of(std::string_view name) {
  constexpr std::string_view kPrefix = "python3.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  int minor = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), minor);
  if (error != std::errc() || end != name.data() + name.size() || minor < 0) return std::nullopt;
  return minor;
}

std::string parent_of(const std::string& dotted) {
  const auto dot = dotted.rfind('.');
  return dot == std::string::npos ? std::string() : dotted.substr(0, dot);
}

std::string joined(const std::string& package, const std::string& name) {
  if (package.empty() || name.empty()) return package + name;
  return package + "." + name;
}

}  // namespace

bool Python::is_interpreter(std::string_view name) {
  return name == "python" || name == "python3" || minor_of(name);
}

Result<void> Python::start(const std::string& program, const ImageFiles::Found& interpreter,
                           const std::vector<std::string>& arguments,
                           const std::vector<std::string>& path,
                           const std::string& working_directory) {
  size_t at = 0;
  while (at < arguments.size() && arguments[at].starts_with('-') && arguments[at] != "-m" &&
         arguments[at] != "-c") {
    at += arguments[at] == "-W" || arguments[at] == "-X" ? 2 : 1;
  }
  const bool has_value = at + 1 < arguments.size();
  const bool is_module = has_value && arguments[at] == "-m";
  const bool is_text = has_value && arguments[at] == "-c";
  std::optional<ImageFiles::Found> script;
  if (at < arguments.size() && !is_module && !is_text)
    script = files_.find_file(arguments[at], working_directory);
  path_.push_back(script ? directory_of(script->path) : working_directory);
  path_.insert(path_.end(), path.begin(), path.end());
  find_library(program, interpreter.path);

  for (const auto& directory : std::vector(path_))
    if (directory.ends_with("-packages")) RUNNEL_DO(read_path_files(directory));
  RUNNEL_DO(import_all({"encodings", "encodings.aliases", "encodings.utf_8", "io", "site", "os",
                        "sitecustomize", "usercustomize"}));
  if (is_module) return import_all({"runpy", arguments[at + 1], arguments[at + 1] + ".__main__"});
  if (is_text)
    return import_all(names_of(python_imports(arguments[at + 1], PythonSource::kMain), ""));
  if (script) return run_script(*script);
  return {};
}

// Where getpath.py finds the library: above the program, or where a virtual environment says that
// its interpreter is.
void Python::find_library(const std::string& program, const std::string& interpreter) {
  const auto environment = directory_of(directory_of(program));
  const bool is_virtual = files_.find_file(environment + "/pyvenv.cfg").has_value();
  const auto prefix = directory_of(directory_of(interpreter));
  if (is_virtual) {
    minor_ = minor_of(base_name(interpreter)).value_or(0);
    add_library(environment);
  }
  minor_ = minor_of(base_name(interpreter)).value_or(0);
  const auto found = add_library(prefix);
  if (minor_ == 0) minor_ = found.value_or(0);
}

std::optional<int> Python::add_library(const std::string& prefix) {
  const auto lib = files_.find_directory(prefix + "/lib");
  if (!lib) return std::nullopt;
  std::optional<int> newest;
  for (const auto& name : files_.names(lib->inode))
    if (const auto minor = minor_of(name)) newest = std::max(newest.value_or(0), *minor);
  if (minor_ != 0) newest = minor_;
  if (!newest) return std::nullopt;
  const auto version = "python3." + std::to_string(*newest);
  const auto directory = joined_path(lib->path, version);
  // Debian's packages come last.
  for (const auto& each :
       {directory, directory + "/lib-dynload", directory + "/site-packages",
        "/usr/local/lib/" + version + "/dist-packages", lib->path + "/python3/dist-packages"})
    if (files_.find_directory(each)) path_.push_back(each);
  return newest;
}

// site.py: lines of *.pth are directories or imports.
Result<void> Python::read_path_files(const std::string& directory) {
  const auto found = files_.find_directory(directory);
  if (!found) return {};
  for (const auto& name : files_.names(found->inode)) {
    if (!name.ends_with(".pth")) continue;
    const auto file = files_.find_file(joined_path(directory, name));
    if (!file) continue;
    reads_.add_file(file->inode, kWholeModule);
    RUNNEL_TRY(const auto bytes, files_.read(file->inode, 0, kMaxSource));
    auto text = as_text(bytes);
    RUNNEL_DO(import_all(names_of(python_imports(text, PythonSource::kModule), "")));
    while (!text.empty()) {
      const auto line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      const auto added = files_.find_directory(line, directory);
      if (!line.empty() && added && path_.size() < kMaxPath) path_.push_back(added->path);
    }
  }
  return {};
}

Result<void> Python::run_script(const ImageFiles::Found& script) {
  reads_.add_file(script.inode, kWholeModule);
  RUNNEL_TRY(const auto source, files_.read(script.inode, 0, kMaxSource));
  return import_all(names_of(python_imports(as_text(source), PythonSource::kMain), ""));
}

std::vector<std::string> Python::names_of(const std::vector<PythonImport>& imports,
                                          const std::string& package) const {
  std::vector<std::string> out;
  for (const auto& import : imports) {
    std::string from;
    if (import.level > 0) {
      from = package;
      for (size_t i = 1; i < import.level; ++i) from = parent_of(from);
      if (from.empty()) continue;
    }
    from = joined(from, import.module);
    out.push_back(from);
    // Attributes are not there, and cost a look.
    for (const auto& name : import.names) out.push_back(joined(from, name));
  }
  return out;
}

Result<void> Python::import_all(const std::vector<std::string>& names) {
  std::vector<std::string> next(names.rbegin(), names.rend());
  while (!next.empty() && imported_.size() < kMaxModules && !reads_.full()) {
    auto name = std::move(next.back());
    next.pop_back();
    // A package comes before what is in it.
    if (const auto parent = parent_of(name); !parent.empty() && !imported_.contains(parent)) {
      next.push_back(std::move(name));
      next.push_back(parent);
      continue;
    }
    RUNNEL_TRY(const auto module, import_one(name));
    if (!module || !module->source) continue;
    RUNNEL_TRY(const auto source, files_.read(module->source->inode, 0, kMaxSource));
    const auto imports =
        names_of(python_imports(as_text(source), PythonSource::kModule), module->package);
    next.insert(next.end(), imports.rbegin(), imports.rend());
  }
  return {};
}

Result<std::optional<Python::Module>> Python::import_one(const std::string& name) {
  if (!imported_.insert(name).second) return std::nullopt;
  if (minor_ >= kFirstWithFrozen && std::ranges::find(kFrozen, name) != kFrozen.end())
    return std::nullopt;
  const auto parent = parent_of(name);
  if (!parent.empty()) {
    const auto package = packages_.find(parent);
    if (package == packages_.end()) return std::nullopt;
    return open_module(std::string(package->second), name);
  }
  for (const auto& directory : path_) {
    RUNNEL_TRY(auto module, open_module(directory, name));
    if (module) return module;
  }
  return std::nullopt;
}

// In the order of importlib's FileFinder: a package, an extension, a source, and its compiled form.
Result<std::optional<Python::Module>> Python::open_module(const std::string& directory,
                                                          const std::string& name) {
  const auto last = name.substr(name.rfind('.') + 1);
  const auto base = joined_path(directory, last);
  Module module{.name = name, .package = parent_of(name), .directory = "", .source = std::nullopt};
  std::string compiled = directory + "/__pycache__/" + last;
  if (const auto package = files_.find_directory(base)) {
    module.source = files_.find_file(base + "/__init__.py");
    packages_[name] = package->path;
    module.package = name;
    compiled = base + "/__pycache__/__init__";
    if (!module.source) return module;  // a namespace package
  } else {
    const auto tag = "cpython-3" + std::to_string(minor_);
    for (const auto& suffix :
         {"." + tag + "-x86_64-linux-gnu.so", "." + tag + "-aarch64-linux-gnu.so",
          "." + tag + "-x86_64-linux-musl.so", std::string(".abi3.so"), std::string(".so")}) {
      const auto extension = files_.find_file(base + suffix);
      if (!extension) continue;
      RUNNEL_DO(libraries_.load(*extension));
      return module;
    }
    module.source = files_.find_file(base + ".py");
    if (!module.source) return std::nullopt;
  }
  const auto cached = files_.find_file(compiled + ".cpython-3" + std::to_string(minor_) + ".pyc");
  reads_.add_file(cached ? cached->inode : module.source->inode, kWholeModule);
  return module;
}

}  // namespace runnel::startup
