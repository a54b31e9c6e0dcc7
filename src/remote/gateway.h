// What a process needs to talk to registries: one for all of them, shared by every Repository and
// by fetch/.
#pragma once

#include <memory>

#include "base/clock.h"
#include "net/client.h"
#include "remote/authorizer.h"
#include "remote/backoff.h"
#include "remote/credentials.h"
#include "remote/hosts.h"

namespace runnel::remote {

struct GatewayOptions {
  RetryPolicy retry;
  Duration connect_timeout = std::chrono::seconds(10);
  // A registry that sends or takes nothing for so long has failed.
  Duration stall_timeout = std::chrono::seconds(30);
  // One attempt at anything that is not a blob's bytes.
  Duration small_timeout = std::chrono::seconds(60);
  // A longer Retry-After is an error at once.
  Duration longest_wait = std::chrono::seconds(60);
  Duration token_timeout = std::chrono::seconds(15);
};

// Any thread may use any member.
class Gateway {
 public:
  // `client` and `clock` must outlive this.
  Gateway(net::Client& client_in, Hosts hosts_in, std::shared_ptr<CredentialSource> credentials,
          const Clock& clock_in, GatewayOptions options_in = {}, Random random_in = system_random())
      : client(client_in),
        hosts(std::move(hosts_in)),
        clock(clock_in),
        options(options_in),
        random(std::move(random_in)),
        authorizer(client, hosts, std::move(credentials), clock, options.token_timeout) {}
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  net::Client& client;
  const Hosts hosts;
  const Clock& clock;
  const GatewayOptions options;
  const Random random;
  Authorizer authorizer;
};

}  // namespace runnel::remote
