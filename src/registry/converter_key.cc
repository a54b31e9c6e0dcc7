#include "registry/converter_key.h"

#include <unistd.h>

#include <cerrno>

#include "base/durable.h"
#include "base/fd.h"
#include "base/log.h"

namespace runnel::registry {

namespace {

constexpr size_t kMaxKeyFile = 64 << 10;

Result<artifact::Key> read_key(const std::string& path) {
  RUNNEL_TRY(const auto pem, read_file(path, kMaxKeyFile));
  auto key = artifact::Key::parse_private(std::string(as_text(pem)));
  if (!key) return std::unexpected(key.error().in(path));
  return key;
}

// Complete before it has its name, and only the first one gets it.
Result<void> make_key(const std::string& path) {
  const auto temporary = fmt::format("{}.{}", path, ::getpid());
  RUNNEL_DO(replace_file(temporary, as_bytes(artifact::Key::generate().private_pem()), 0600));
  const bool linked = ::link(temporary.c_str(), path.c_str()) == 0;
  const int error = errno;
  ::unlink(temporary.c_str());
  if (!linked && error != EEXIST) return std::unexpected(system_error(error, "make " + path));
  return sync_directory(path.substr(0, path.rfind('/')));
}

}  // namespace

Result<artifact::Key> load_or_make_converter_key(const Config& config) {
  if (!config.conversion.key.empty()) return read_key(config.conversion.key);
  const auto path = config.data + "/converter.key";
  auto key = read_key(path);
  if (key || key.error().code != Code::kNotFound) return key;
  RUNNEL_DO(make_key(path));
  return read_key(path);
}

}  // namespace runnel::registry
