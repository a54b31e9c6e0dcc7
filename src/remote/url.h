// Addresses that a registry hands us: redirects, upload locations, token realms, next pages.
//
// All of them come from outside, and following one blindly lets a registry aim our credentials, or
// at least a request of ours, at something inside our network (server-side request forgery).
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "remote/hosts.h"

namespace runnel::remote {

// `reference` (absolute, or a path, or a query) seen from the absolute URL `base`; without a
// fragment. kInvalid unless the outcome is a plain http or https URL with a host and without user
// information.
Result<std::string> resolve_url(std::string_view base, std::string_view reference);

// Scheme, host and port are equal: credentials for one may go to the other.
bool is_same_origin(std::string_view a, std::string_view b);

// kDenied when a registry must not send us to `url`: from HTTPS down to plain HTTP, or to a local
// address (remote/hosts.h) unless it is on one itself.
Result<void> check_leads_on(const Endpoint& registry, std::string_view url);

// `url` with one more "name=value" in its query; the value is percent-encoded here.
std::string with_query(std::string url, std::string_view name, std::string_view value);

}  // namespace runnel::remote
