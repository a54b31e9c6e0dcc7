// Where a registry may send a request that the mirror makes for a client. Internal to mirror/.
//
// Any local process may be the client, and a registry on loopback may be that process itself. The
// mirror is root, whom a machine's firewall lets where it lets nobody else, so it must not be the
// way there.
#pragma once

#include <string_view>

#include "base/error.h"
#include "remote/hosts.h"

namespace runnel::mirror {

// kDenied where remote::check_leads_on() (remote/url.h) says so, and when a registry on loopback
// leads anywhere but to loopback or, over HTTPS, to an address that is not local.
Result<void> check_reach(const remote::Endpoint& registry, std::string_view url);

}  // namespace runnel::mirror
