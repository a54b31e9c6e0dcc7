#include "startup/javascript.h"

#include <algorithm>
#include <boost/json.hpp>

#include "startup/javascript_source.h"

namespace runnel::startup {

namespace {

namespace json = boost::json;

constexpr size_t kMaxModules = 20'000;
constexpr uint64_t kMaxSource = 2 << 20;
constexpr uint64_t kMaxPackageFile = 256 << 10;
constexpr uint64_t kWholeModule = 4 << 20;
constexpr int kMaxConditions = 8;  // inside each other

// What "exports" says of one entry: a string, or conditions of which the first that holds counts.
std::string chosen(const json::value& value, int depth = 0) {
  if (value.is_string()) return std::string(value.get_string());
  if (!value.is_object() || depth > kMaxConditions) return "";
  for (const auto& [condition, inner] : value.get_object()) {
    if (condition != "require" && condition != "node" && condition != "import" &&
        condition != "default")
      continue;
    if (auto found = chosen(inner, depth + 1); !found.empty()) return found;
  }
  return "";
}

// The file of a package that `inside` ("" or "sub/module") means, by its package.json.
std::string entry_of(Bytes package, const std::string& inside) {
  boost::system::error_code error;
  const auto value = json::parse(as_text(package), error);
  if (error || !value.is_object()) return inside;
  const auto& object = value.get_object();
  if (const auto* exports = object.if_contains("exports")) {
    const auto* entry = exports;
    if (exports->is_object()) {
      const auto* named = exports->get_object().if_contains(inside.empty() ? "." : "./" + inside);
      if (named != nullptr) entry = named;
    }
    if (auto found = chosen(*entry); !found.empty() && (entry != exports || inside.empty()))
      return found;
  }
  const auto* main = object.if_contains("main");
  if (inside.empty() && main != nullptr && main->is_string())
    return std::string(main->get_string());
  return inside;
}

}  // namespace

Result<void> JavaScript::start(const std::vector<std::string>& arguments,
                               const std::string& working_directory) {
  const auto script = std::ranges::find_if(
      arguments, [](const std::string& argument) { return !argument.starts_with('-'); });
  if (script == arguments.end()) return {};
  const auto path = script->starts_with('/') ? *script : working_directory + "/" + *script;
  RUNNEL_TRY(const auto file, resolve_path(path));
  if (!file) return {};
  return run(*file);
}

Result<void> JavaScript::run(const Found& script) {
  std::vector<Found> next = {script};
  while (!next.empty() && seen_.size() < kMaxModules && !reads_.full()) {
    const auto current = std::move(next.back());
    next.pop_back();
    if (!seen_.insert(current.inode).second) continue;
    const auto directory = directory_of(current.path);
    if (current.path.ends_with(".node")) {
      RUNNEL_DO(libraries_.load(current));
      continue;
    }
    add_package_file(directory);
    reads_.add_file(current.inode, kWholeModule);
    if (current.path.ends_with(".json")) continue;
    RUNNEL_TRY(const auto source, files_.read(current.inode, 0, kMaxSource));
    std::vector<Found> asked;
    for (const auto& name : javascript_imports(as_text(source))) {
      RUNNEL_TRY(auto found, resolve(name, directory));
      if (found) asked.push_back(*std::move(found));
    }
    next.insert(next.end(), asked.rbegin(), asked.rend());
  }
  return {};
}

Result<std::optional<ImageFiles::Found>> JavaScript::resolve(const std::string& name,
                                                             const std::string& directory) {
  if (name.starts_with('/')) return resolve_path(name);
  if (name.starts_with("./") || name.starts_with("../") || name == "." || name == "..")
    return resolve_path(joined_path(directory, name));
  // "@scope/package/inside" or "package/inside"
  auto cut = name.find('/');
  if (name.starts_with('@') && cut != std::string::npos) cut = name.find('/', cut + 1);
  const auto package = name.substr(0, cut);
  const auto inside = cut == std::string::npos ? std::string() : name.substr(cut + 1);
  for (std::string above = directory;; above = directory_of(above)) {
    RUNNEL_TRY(auto found,
               resolve_package((above == "/" ? "" : above) + "/node_modules/" + package, inside));
    if (found) return found;
    if (above == "/") break;
  }
  for (const auto& root : path_) {
    RUNNEL_TRY(auto found, resolve_package(joined_path(root, package), inside));
    if (found) return found;
  }
  return std::nullopt;
}

Result<std::optional<ImageFiles::Found>> JavaScript::resolve_package(const std::string& root,
                                                                     const std::string& inside) {
  if (!files_.find_directory(root))
    return resolve_path(inside.empty() ? root : joined_path(root, inside));
  const auto description = files_.find_file(root + "/package.json");
  std::string entry = inside;
  if (description) {
    reads_.add_file(description->inode, kMaxPackageFile);
    RUNNEL_TRY(const auto bytes, files_.read(description->inode, 0, kMaxPackageFile));
    entry = entry_of(bytes, inside);
  }
  const auto path = joined_path(root, entry);
  if (auto file = files_.find_file(path)) return file;
  return resolve_path(entry.empty() ? root + "/index" : path);
}

// A file, a file with an extension left out, or a directory's index.
Result<std::optional<ImageFiles::Found>> JavaScript::resolve_path(const std::string& path) {
  if (auto file = files_.find_file(path)) return file;
  for (const auto* extension :
       {".js", ".json", ".node", ".mjs", ".cjs", "/index.js", "/index.json"})
    if (auto file = files_.find_file(path + extension)) return file;
  const auto description = files_.find_file(path + "/package.json");
  if (!description) return std::nullopt;
  RUNNEL_TRY(const auto bytes, files_.read(description->inode, 0, kMaxPackageFile));
  const auto entry = entry_of(bytes, "");
  if (entry.empty()) return std::nullopt;
  reads_.add_file(description->inode, kMaxPackageFile);
  for (const auto* extension : {"", ".js", "/index.js"})
    if (auto file = files_.find_file(joined_path(path, entry) + extension)) return file;
  return std::nullopt;
}

void JavaScript::add_package_file(const std::string& directory) {
  for (std::string above = directory;; above = directory_of(above)) {
    if (const auto file = files_.find_file(above + "/package.json")) {
      reads_.add_file(file->inode, kMaxPackageFile);
      return;
    }
    if (above == "/" || base_name(above) == "node_modules") return;
  }
}

}  // namespace runnel::startup
