#include "node/listeners.h"

#include <unistd.h>

#include <filesystem>

#include "base/durable.h"
#include "net/listener.h"
#include "net/url.h"
#include "oci/digest.h"

namespace runnel::node {

namespace {

constexpr std::string_view kPrefix = "listen-";
constexpr uint16_t kMirrorPort = 8578;

std::string name_of(std::string_view what, const std::string& address) {
  const auto digest = oci::Digest::of(as_bytes(address));
  return fmt::format("{}{}-{}", kPrefix, what, digest.hex().substr(0, 16));
}

Result<UniqueFd> open_mirror(const std::string& listen) {
  RUNNEL_TRY(const auto address, mirror_address(listen));
  return net::open_listener(address.host, *address.port);
}

Result<UniqueFd> open_socket(const std::string& path) {
  RUNNEL_DO(make_directories(std::filesystem::path(path).parent_path().string()));
  return net::open_listener("unix:" + path, 0);
}

Result<UniqueFd> take(engine::Handover& handover, std::string_view what,
                      const std::string& address) {
  auto fd = handover.take(name_of(what, address));
  if (!fd) return fail(Code::kNotFound, "the holder handed over no socket for {}", address);
  return fd;
}

}  // namespace

Result<net::HostPort> mirror_address(const std::string& listen) {
  // Port 0, which is none in a URL, asks for a free one here.
  const bool any_port = listen.ends_with(":0");
  RUNNEL_TRY(auto address,
             net::split_host_port(any_port ? listen.substr(0, listen.size() - 2) : listen));
  if (!net::is_loopback_host(address.host)) {
    return fail(Code::kDenied,
                "--mirror {}: the mirror serves without authentication, so it listens on loopback "
                "addresses only",
                listen);
  }
  address.port = any_port ? 0 : address.port.value_or(kMirrorPort);
  return address;
}

Result<void> open_listeners(const Config& config, engine::Handover& handover) {
  const auto mirror = name_of("mirror", config.mirror);
  const auto control = name_of("control", config.control_socket);
  const auto snapshotter = name_of("snapshotter", config.snapshotter_socket);
  handover.drop_others(kPrefix, {mirror, control, snapshotter});
  if (!handover.has(mirror)) {
    RUNNEL_TRY(auto fd, open_mirror(config.mirror));
    handover.add(mirror, std::move(fd));
  }
  if (!handover.has(control)) {
    RUNNEL_TRY(auto fd, open_socket(config.control_socket));
    handover.add(control, std::move(fd));
  }
  if (!handover.has(snapshotter)) {
    RUNNEL_TRY(auto fd, open_socket(config.snapshotter_socket));
    handover.add(snapshotter, std::move(fd));
  }
  return {};
}

void remove_sockets(const Config& config) {
  ::unlink(config.control_socket.c_str());
  ::unlink(config.snapshotter_socket.c_str());
}

Result<Listeners> take_listeners(const Config& config, engine::Handover& handover) {
  Listeners listeners;
  RUNNEL_TRY(listeners.mirror, take(handover, "mirror", config.mirror));
  RUNNEL_TRY(listeners.control, take(handover, "control", config.control_socket));
  RUNNEL_TRY(listeners.snapshotter, take(handover, "snapshotter", config.snapshotter_socket));
  return listeners;
}

}  // namespace runnel::node
