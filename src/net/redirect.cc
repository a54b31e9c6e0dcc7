#include "net/redirect.h"

#include <curl/curl.h>

#include <memory>
#include <string>

namespace runnel::net {

namespace {

struct Free {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(char* text) const { curl_free(text); }
};

}  // namespace

Result<Url> redirect_target(const Url& from, std::string_view location) {
  const std::unique_ptr<CURLU, Free> url(curl_url());
  RUNNEL_CHECK(url != nullptr);
  const auto set = [&](CURLUPart part, const char* text, unsigned flags) {
    return curl_url_set(url.get(), part, text, flags) == CURLUE_OK;
  };
  const std::string relative(location);
  char* text = nullptr;
  const bool resolved = set(CURLUPART_URL, from.text().c_str(), 0) &&
                        set(CURLUPART_URL, relative.c_str(), CURLU_URLENCODE) &&
                        set(CURLUPART_USER, nullptr, 0) && set(CURLUPART_PASSWORD, nullptr, 0) &&
                        curl_url_get(url.get(), CURLUPART_URL, &text, 0) == CURLUE_OK;
  const std::unique_ptr<char, Free> owner(text);
  if (!resolved) return fail(Code::kInvalid, "the redirect leads to something that is not a URL");

  auto target = parse_url(text);
  if (!target) return std::unexpected(target.error().in("redirect"));
  if (from.scheme == "https" && target->scheme != "https")
    return fail(Code::kInvalid, "the redirect to {} leaves https for http",
                without_secrets(target->text()));
  return target;
}

}  // namespace runnel::net
