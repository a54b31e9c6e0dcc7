#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "base/durable.h"
#include "base/fd.h"
#include "install/command.h"
#include "install/install.h"
#include "install/machine.h"
#include "install/node_root.h"
#include "install/rollback.h"
#include "install/transaction.h"

namespace runnel::install {

namespace {

using snapshot::ContainerdClient;
using std::chrono::minutes;

constexpr auto kPoll = std::chrono::milliseconds(200);
constexpr auto kNoProgress = minutes(5);  // then the completion has failed
constexpr auto kEnding = minutes(1);      // of a node that was told to stop

// How far an uninstall came after its point of no return: "restoring" (the files may be restored,
// containerd may not know it), or "serving" (only the node is left, for what still runs).
std::string retired_path(const Options& options) {
  return options.node_root + "/install/retired";
}

std::string retired(const Options& options) {
  const auto bytes = read_file(retired_path(options), 64);
  return bytes ? std::string(as_text(*bytes)) : std::string();
}

Result<void> set_retired(const Options& options, std::string_view stage) {
  return replace_file(retired_path(options), as_bytes(stage), 0600);
}

// One uninstall. Each step can be repeated: after a crash it is run again from its beginning.
class Uninstall {
 public:
  explicit Uninstall(const Options& options) : options_(options) {}

  Result<void> run();

 private:
  Result<void> step(std::string_view name) const;
  Result<void> prepare(const std::vector<Transaction>& all);
  Result<void> prepare_without_containerd(const Error& why);
  Result<void> complete_mounts(std::string_view whose) const;
  Result<void> restart() const;
  Result<void> detach_containers() const;
  Result<void> finish(const Transactions& transactions) const;
  Result<void> purge_alone() const;
  Result<void> remove_root() const;

  const Options& options_;
  bool layers_held_ = false;  // containerd was not told to let go of them
};

Result<void> Uninstall::step(std::string_view name) const {
  if (options_.fail_at == name) return fail(Code::kUnavailable, "told to fail before {}", name);
  if (options_.fail_at == fmt::format("crash:{}", name)) ::raise(SIGKILL);
  return {};
}

// So that what runs needs no registry any more, only the node's process.
Result<void> Uninstall::complete_mounts(std::string_view whose) const {
  options_.say(fmt::format("completing what {} read", whose));
  RUNNEL_TRY(auto state, completion(options_, "POST"));
  auto last_missing = state.bytes_missing;
  auto last_progress = std::chrono::steady_clock::now();
  while (state.running) {
    std::this_thread::sleep_for(kPoll);
    RUNNEL_TRY(state, completion(options_, "GET"));
    const auto now = std::chrono::steady_clock::now();
    if (state.bytes_missing < last_missing) {
      last_missing = state.bytes_missing;
      last_progress = now;
    }
    if (now - last_progress > kNoProgress)
      return fail(Code::kUnavailable, "nothing came for five minutes, {} bytes are missing",
                  state.bytes_missing);
  }
  if (state.complete) return {};
  return fail(Code::kUnavailable, "{}", state.error.empty() ? "it did not end" : state.error);
}

// Without its snapshotter containerd could not remove such a container: it asks for its snapshot to
// be removed first. The mounts of a running one are its own.
Result<void> Uninstall::detach_containers() const {
  RUNNEL_TRY(const auto containers, our_containers(options_));
  const ContainerdClient client(options_.containerd_socket);
  for (const auto& [name, container] : containers) {
    if (container.snapshot_key.empty()) continue;
    const auto done = client.forget_snapshot(name, container.id);
    if (!done && done.error().code != Code::kNotFound) return done;
  }
  return {};
}

Result<void> Uninstall::finish(const Transactions& transactions) const {
  RUNNEL_TRY(const auto containers, our_containers(options_));
  if (!containers.empty()) {
    options_.say(fmt::format(
        "{} containers still run from the node's mounts, {} in {} for one: leave the node running "
        "until they have ended; it needs no registry for them. Then run this again",
        containers.size(), containers.front().second.id, containers.front().first));
    return {};
  }
  RUNNEL_DO(step("stop"));
  options_.say("stopping the node: " + options_.stop_command);
  if (const auto stopped = run_shell(options_.stop_command, minutes(2)); !stopped)
    return std::unexpected(stopped.error().in("the node could not be stopped"));
  ::unlink(retired_path(options_).c_str());
  transactions.remove_if_empty();
  if (options_.purge) RUNNEL_DO(remove_root());
  options_.say("uninstalled");
  return {};
}

Result<void> Uninstall::remove_root() const {
  RUNNEL_TRY(const auto left, remove_node_root(options_.node_root, kEnding));
  options_.say(left.empty()
                   ? "removed " + options_.node_root
                   : fmt::format("removed what the node kept in {}, which stays because {} "
                                 "in it is not the node's",
                                 options_.node_root, left));
  return {};
}

// Everything else was uninstalled before. Nobody has proven that the directory is a node's, nor
// that it has stopped, so that is looked at here.
Result<void> Uninstall::purge_alone() const {
  if (::access((options_.node_root + "/node-id").c_str(), F_OK) != 0)
    return fail(Code::kNotFound, "{} is no node's root: nothing was removed (--root names it)",
                options_.node_root);
  if (node_engine(options_))
    return fail(Code::kConflict, "the node runs: stop it, then its root {} can be removed",
                options_.node_root);
  RUNNEL_TRY(const auto containers, our_containers(options_));
  if (!containers.empty())
    return fail(Code::kConflict, "{} containers are the node's still, {} in {} for one",
                containers.size(), containers.front().second.id, containers.front().first);
  return remove_root();
}

// Up to the point from which there is only forward.
Result<void> Uninstall::prepare(const std::vector<Transaction>& all) {
  if (!options_.force) RUNNEL_DO(check_unedited(all));
  const auto containers = our_containers(options_);
  if (!containers) return prepare_without_containerd(containers.error());
  if (!containers->empty()) {
    const auto completed = complete_mounts(fmt::format("{} containers", containers->size()));
    if (!completed && !options_.force) {
      return std::unexpected(completed.error().in(
          "what containers read cannot be completed, and nothing has been changed (--force goes on "
          "all the same: their missing files then need the registry)"));
    }
  }
  RUNNEL_DO(step("release"));
  const auto released = release_layers(options_);
  return options_.force ? Result<void>() : released;
}

// A containerd that cannot start as it was configured can when its files are restored. Nobody can
// say then which containers run, so all that the node has mounted is completed; containerd is asked
// for them when it is up again.
Result<void> Uninstall::prepare_without_containerd(const Error& why) {
  if (!options_.force) {
    return fail(why.code,
                "{}. Nothing has been changed. Where it cannot start as it is configured now, "
                "`runnel node uninstall --force` restores its files first and restarts it then",
                why.message);
  }
  options_.say(fmt::format("{}: going on without it (--force)", why.message));
  layers_held_ = true;
  if (const auto completed = complete_mounts("all containers"); !completed) {
    options_.say(
        fmt::format("what containers read cannot be completed, their missing files need "
                    "the registry: {}",
                    completed.error().message));
  }
  return {};
}

Result<void> Uninstall::restart() const {
  options_.say("restarting containerd: " + options_.restart_command);
  const auto up = restart_containerd(options_);
  if (up) return {};
  return fail(up.error().code,
              "containerd's files are as before the install, and it does not start: {}. Run this "
              "again when it does; until then the node has to run for containers on its mounts",
              up.error().message);
}

Result<void> Uninstall::run() {
  if (::geteuid() != 0)
    return fail(Code::kDenied, "an uninstall changes containerd: run it as root");
  RUNNEL_TRY(const auto transactions, Transactions::open(options_.node_root));
  RUNNEL_TRY(const auto all, transactions.all());
  const auto stage = retired(options_);
  layers_held_ = stage == "restoring";  // perhaps: the run before may have had no containerd
  if (all.empty() && stage.empty()) {
    transactions.remove_if_empty();
    if (options_.purge) return purge_alone();
    options_.say("nothing to do: nothing was installed with the node's root " + options_.node_root);
    return {};
  }
  if (!all.empty() && stage != "restoring") RUNNEL_DO(prepare(all));
  if (!all.empty() || stage == "restoring") {
    RUNNEL_DO(set_retired(options_, "restoring"));
    RUNNEL_DO(step("restore"));
    RUNNEL_DO(roll_back(all, options_.force, options_.say));
    RUNNEL_DO(step("restart"));
    RUNNEL_DO(restart());
    RUNNEL_DO(detach_containers());
    if (layers_held_) RUNNEL_DO(release_layers(options_));
    RUNNEL_DO(set_retired(options_, "serving"));
  }
  return finish(transactions);
}

}  // namespace

Result<void> uninstall(const Options& options) {
  return Uninstall(options).run();
}

}  // namespace runnel::install
