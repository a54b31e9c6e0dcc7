#include "remote/provider_config.h"

#include <fnmatch.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/quote.h"

namespace runnel::remote {

namespace {

constexpr size_t kMaxText = 1 << 20;
constexpr size_t kMaxProviders = 64;
constexpr std::string_view kProtocol = "credentialprovider.kubelet.k8s.io/";

// A program's name, and no way out of the directory of providers.
bool is_file_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find_first_of("/ \t\n") == name.npos && name.find('\0') == name.npos;
}

Result<std::vector<std::string>> texts(const YAML::Node& list, const char* key) {
  std::vector<std::string> out;
  if (!list.IsDefined() || list.IsNull()) return out;
  if (!list.IsSequence()) return fail(Code::kInvalid, "{} must be a list", key);
  for (const auto& element : list) {
    if (!element.IsScalar()) return fail(Code::kInvalid, "{} must be a list of texts", key);
    out.push_back(element.Scalar());
  }
  return out;
}

std::string text(const YAML::Node& map, const char* key) {
  const auto& value = map[key];
  return value.IsDefined() && value.IsScalar() ? value.Scalar() : std::string();
}

Result<CredentialProvider> read_provider(const YAML::Node& node) {
  if (!node.IsMap()) return fail(Code::kInvalid, "a provider must be a map");
  CredentialProvider out;
  out.name = text(node, "name");
  if (!is_file_name(out.name))
    return fail(Code::kInvalid, "name: {} is no program's name", quote(out.name));
  out.api_version = text(node, "apiVersion");
  if (!out.api_version.starts_with(kProtocol))
    return fail(Code::kUnsupported, "{}: apiVersion {} is not {}…", out.name,
                quote(out.api_version), kProtocol);
  RUNNEL_TRY(out.match_images, texts(node["matchImages"], "matchImages"));
  if (out.match_images.empty()) return fail(Code::kInvalid, "{}: no matchImages", out.name);
  RUNNEL_TRY(out.cache_duration, parse_go_duration(text(node, "defaultCacheDuration")));
  RUNNEL_TRY(out.arguments, texts(node["args"], "args"));
  for (const auto& entry : node["env"]) {
    const auto name = entry.IsMap() ? text(entry, "name") : std::string();
    if (name.empty()) return fail(Code::kInvalid, "{}: an env without a name", out.name);
    out.environment.emplace_back(name, text(entry, "value"));
  }
  return out;
}

Result<std::vector<CredentialProvider>> read_document(const YAML::Node& root,
                                                      const std::string& path) {
  if (!root.IsMap() || text(root, "kind") != "CredentialProviderConfig")
    return fail(Code::kInvalid, "{}: not a CredentialProviderConfig", path);
  const auto& list = root["providers"];
  if (!list.IsDefined() || !list.IsSequence() || list.size() > kMaxProviders)
    return fail(Code::kInvalid, "{}: providers must be a list of at most {}", path, kMaxProviders);
  std::vector<CredentialProvider> out;
  for (const auto& node : list) {
    auto provider = read_provider(node);
    if (!provider)
      return fail(provider.error().code, "{}:{}: {}", path, node.Mark().line + 1,
                  provider.error().message);
    out.push_back(*std::move(provider));
  }
  return out;
}

// "host:port/path" in its parts; the port is empty when there is none.
struct ImageParts {
  std::vector<std::string> labels;
  std::string port;
  std::string path;
};

ImageParts split(std::string_view image) {
  if (const size_t scheme = image.find("://"); scheme != image.npos)
    image.remove_prefix(scheme + 3);
  ImageParts out;
  const size_t slash = std::min(image.find('/'), image.size());
  out.path = image.substr(slash);
  while (out.path.ends_with('/')) out.path.pop_back();
  std::string_view host = image.substr(0, slash);
  if (const size_t colon = host.rfind(':');
      colon != host.npos && host.find(']', colon) == host.npos) {
    out.port = host.substr(colon + 1);
    host = host.substr(0, colon);
  }
  while (true) {
    const size_t dot = host.find('.');
    out.labels.emplace_back(host.substr(0, dot));
    if (dot == host.npos) return out;
    host.remove_prefix(dot + 1);
  }
}

}  // namespace

bool matches_image(std::string_view pattern, std::string_view image) {
  const ImageParts wanted = split(pattern);
  const ImageParts is = split(image);
  if (wanted.labels.size() != is.labels.size() || wanted.port != is.port) return false;
  if (!is.path.starts_with(wanted.path)) return false;
  return std::ranges::equal(wanted.labels, is.labels, [](const auto& glob, const auto& label) {
    return fnmatch(glob.c_str(), label.c_str(), 0) == 0;
  });
}

Result<Duration> parse_go_duration(std::string_view text) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"h", 3600}, {"m", 60}, {"s", 1}};
  const auto wrong = [&] {
    return fail(Code::kInvalid, "{} is not a duration like \"12h\" or \"1h30m\"", quote(text));
  };
  std::string_view rest = text;
  if (rest.empty() || rest.size() > 64) return wrong();
  double seconds = 0;
  while (!rest.empty()) {
    const size_t digits = std::min(rest.find_first_not_of("0123456789."), rest.size());
    if (digits == 0) return wrong();
    const double number = std::strtod(std::string(rest.substr(0, digits)).c_str(), nullptr);
    rest.remove_prefix(digits);
    if (rest.empty() && number == 0) break;  // "0"
    const auto* unit =
        std::ranges::find_if(kUnits, [&](const auto& one) { return rest.starts_with(one.first); });
    if (unit == std::end(kUnits)) return wrong();
    rest.remove_prefix(unit->first.size());
    seconds += number * unit->second;
  }
  if (!std::isfinite(seconds) || seconds > 10 * 365 * 86400.0) return wrong();
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

Result<std::vector<CredentialProvider>> parse_provider_config(const std::string& text_of_file,
                                                              const std::string& path) {
  if (text_of_file.size() > kMaxText) return fail(Code::kExhausted, "{}: too large", path);
  try {
    return read_document(YAML::Load(text_of_file), path);
  } catch (const YAML::Exception& problem) {
    return fail(Code::kInvalid, "{}:{}: {}", path, problem.mark.line + 1, problem.msg);
  }
}

}  // namespace runnel::remote
