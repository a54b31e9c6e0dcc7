// What a config.json or auth.json of docker and podman says, without the file.
//
//   {"auths": {KEY: {"auth": base64("user:password"), "identitytoken": …, "registrytoken": …}},
//    "credHelpers": {HOST: HELPER}, "credsStore": HELPER}
//
// KEY is a host, a host with a path of repositories (podman; the longest that fits is used), or
// "https://index.docker.io/v1/" for docker.io. Old ones are a host as a URL.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "remote/credentials.h"

namespace boost::json {
class object;
}

namespace runnel::remote {

// kInvalid when it is no JSON object; the error holds nothing of what is in it, as all of these.
Result<boost::json::object> parse_docker_config(Bytes file);

// The helper that it names for this host, or for every host; empty: none.
std::string helper_for_host(const boost::json::object& config, std::string_view host);
// What a helper calls the host.
std::string server_of(std::string_view host);

// What stands in it for the repository, or the nearest place above. kInvalid when that is damaged.
Result<std::optional<Credential>> login_in(const boost::json::object& config, std::string_view host,
                                           std::string_view repository);
// In the place of all that stands there for the whole host, whichever way that is written.
void set_login(boost::json::object& config, std::string_view host, const Credential& credential);
// False when nothing stands there for the whole host.
bool erase_login(boost::json::object& config, std::string_view host);

}  // namespace runnel::remote
