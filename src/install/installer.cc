#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <tuple>

#include "install/command.h"
#include "install/diff.h"
#include "install/install.h"
#include "install/machine.h"
#include "install/plan.h"
#include "install/rollback.h"
#include "install/transaction.h"
#include "remote/mirrored_hosts.h"
#include "snapshot/cri_images.h"

namespace runnel::install {

namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kDefaultCerts = "/etc/containerd/certs.d";
constexpr auto kPullTime = minutes(10);
constexpr auto kNodeStartTime = seconds(60);

// The platform as containerd names it.
std::string platform() {
#if defined(__aarch64__)
  return "linux/arm64";
#else
  return "linux/amd64";
#endif
}

// One install: its steps, and what has to be taken back.
class Install {
 public:
  explicit Install(const Options& options) : options_(options) {}

  Result<void> run();

 private:
  Result<void> step(std::string_view name) const;
  Result<void> look();
  Result<void> make_plan();
  Result<void> take_back_interrupted(const Transactions& transactions);
  Result<void> change(const Transactions& transactions);
  Result<void> change_steps(Transaction& transaction);
  void say_what_streams() const;
  Result<void> start_node();
  Result<void> unpack_present();
  Result<void> look_at_plugins() const;
  Result<void> verify();
  Result<std::string> image_to_pull();
  Error take_back(Transaction* transaction, const Error& why);

  const Options& options_;
  std::vector<Registry> registries_;
  Containerd containerd_;
  Found found_;
  Plan plan_;
  bool cri_ = true;
  bool node_started_ = false;
  bool restarted_ = false;  // or tried
  bool unpacked_ = false;
};

// Where tests make it fail.
Result<void> Install::step(std::string_view name) const {
  if (options_.fail_at == name) return fail(Code::kUnavailable, "told to fail before {}", name);
  if (options_.fail_at == fmt::format("crash:{}", name)) ::raise(SIGKILL);
  return {};
}

Result<void> Install::look() {
  if (::geteuid() != 0) return fail(Code::kDenied, "an install changes containerd: run it as root");
  std::set<std::string> seen;
  for (const auto& text : options_.registries) {
    RUNNEL_TRY(auto registry, Registry::parse(text));
    if (seen.insert(registry.host).second) registries_.push_back(std::move(registry));
  }
  RUNNEL_TRY(containerd_, find_containerd(options_));
  options_.say(
      fmt::format("containerd {}, configured by {}", containerd_.version, containerd_.config));
  return {};
}

Result<void> Install::make_plan() {
  RUNNEL_TRY(const auto effective, effective_configuration(containerd_));
  cri_ = has_cri(effective);
  std::string certs = options_.certs_dir;
  RUNNEL_TRY(const auto configured,
             certs_directory(effective, containerd_.major, certs.empty() ? kDefaultCerts : certs));
  if (certs.empty()) certs = configured;
  if (certs != configured) {
    return fail(Code::kConflict, "--certs-dir {}: containerd takes its hosts.toml files from {}",
                certs, configured);
  }
  RUNNEL_TRY(found_, read_files(containerd_, certs, registries_));
  RUNNEL_TRY(plan_, plan(found_, {.snapshotter_socket = options_.snapshotter_socket,
                                  .node_root = options_.node_root,
                                  .mirror = options_.mirror,
                                  .platform = platform(),
                                  .registries = registries_}));
  for (const auto& change : plan_.changes) {
    options_.say(unified_diff(change.path, change.before.has_value(), change.before.value_or(""),
                              change.after));
  }
  for (const auto& note : plan_.notes) options_.say("note: " + note);
  return {};
}

Result<void> Install::take_back_interrupted(const Transactions& transactions) {
  RUNNEL_TRY(const auto all, transactions.all());
  for (auto each = all.rbegin(); each != all.rend() && !each->committed(); ++each) {
    options_.say("an earlier install was interrupted: taking it back first");
    RUNNEL_DO(roll_back({&*each, 1}, options_.force, options_.say));
    RUNNEL_DO(restart_containerd(options_));
  }
  return {};
}

Result<void> Install::start_node() {
  if (const auto engine = node_engine(options_)) {
    options_.say("the node runs, engine " + *engine);
    return {};
  }
  options_.say("starting the node: " + options_.start_command);
  node_started_ = true;
  const auto ran = run_shell(options_.start_command, minutes(1));
  if (!ran) {
    // It may have come half-way, a unit be enabled that does not run.
    std::ignore = run_shell(options_.stop_command, minutes(2));
    node_started_ = false;
    return fail(ran.error().code,
                "the node does not run and cannot be started: {}. The Debian package brings its "
                "unit; without that, start `runnel node` by what starts programs here and install "
                "again (then --stop-command says what stops it)",
                ran.error().message);
  }
  const auto up = wait_for_node(options_, kNodeStartTime);
  if (!up) return std::unexpected(up.error().in("the node did not come up"));
  RUNNEL_TRY(const auto engine, node_engine(options_));
  options_.say("the node runs, engine " + engine);
  return {};
}

// So that a pod whose image is here already starts without a pull, the sandbox's image included.
// What the content store does not have whole is pulled again by whoever needs it.
Result<void> Install::unpack_present() {
  if (!options_.unpack) return {};
  RUNNEL_TRY(const auto present, images(options_, containerd_, "runnel"));
  std::set<std::string> done;
  unpacked_ = true;
  for (const auto& image : present) {
    if (image.unpacked || !done.insert(image.digest).second) continue;
    if (!image.complete) {
      options_.say(fmt::format("{} has not all its layers here: it is pulled again when needed",
                               image.name));
      continue;
    }
    options_.say("unpacking " + image.name);
    RUNNEL_DO(unpack(options_, containerd_, image));
  }
  return {};
}

Result<std::string> Install::image_to_pull() {
  if (!options_.verify_image.empty()) return options_.verify_image;
  RUNNEL_TRY(const auto present, images(options_, containerd_, "runnel"));
  for (const auto& image : present) {
    const bool tagged = image.name.find('@') == std::string::npos;
    const bool ours = std::ranges::any_of(registries_, [&](const auto& registry) {
      return image.name.starts_with(registry.host + "/");
    });
    if (tagged && ours) return image.name;
  }
  return std::string();
}

Result<void> Install::look_at_plugins() const {
  RUNNEL_DO(check_plugins(options_, cri_));
  RUNNEL_TRY(const bool maps, lets_map_owners(options_, containerd_));
  if (!maps) {
    options_.say(
        "note: this containerd does not know the drop-in's \"capabilities\" (1.7.23 and later do): "
        "it copies the whole image for a pod with hostUsers: false, which then sees wrong owners");
  }
  return {};
}

Result<void> Install::verify() {
  RUNNEL_DO(check_plugins(options_, cri_));
  RUNNEL_TRY(const auto name, image_to_pull());
  if (name.empty() || !cri_) {
    options_.say(
        "no image of these registries is here to verify with: nothing was pulled "
        "(--verify-image names one)");
    return {};
  }
  const auto pulled = snapshot::pull_image(options_.containerd_socket, name, kPullTime);
  if (!pulled && options_.verify_image.empty() && snapshot::wants_password(pulled.error())) {
    options_.say(fmt::format(
        "{0} wants a password, which pods' secrets have and install has not: nothing was pulled. "
        "runnel pull {0} --user NAME --password-stdin tries it",
        name));
    return {};
  }
  if (!pulled) return std::unexpected(pulled.error().in("the pull that verifies the install"));
  RUNNEL_TRY(const auto present, images(options_, containerd_, "runnel"));
  const bool good = std::ranges::any_of(
      present, [&](const auto& image) { return image.name == name && image.unpacked; });
  if (!good) return fail(Code::kConflict, "{} was pulled, but not into the snapshotter", name);
  options_.say(fmt::format("pulled {}", name));
  return {};
}

Result<void> Install::change_steps(Transaction& transaction) {
  for (size_t i = 0; i < transaction.size(); ++i) {
    RUNNEL_DO(step(fmt::format("write-{}", i)));
    RUNNEL_DO(transaction.apply(i));
  }
  RUNNEL_DO(step("effect"));
  RUNNEL_TRY(const auto effective, effective_configuration(containerd_));
  RUNNEL_DO(check_effect(found_.effective, effective, containerd_.major, found_.certs_directory));
  RUNNEL_DO(step("restart"));
  options_.say("restarting containerd: " + options_.restart_command);
  restarted_ = true;
  RUNNEL_DO(restart_containerd(options_));
  RUNNEL_DO(step("plugins"));
  RUNNEL_DO(look_at_plugins());
  RUNNEL_DO(step("unpack"));
  RUNNEL_DO(unpack_present());
  RUNNEL_DO(step("verify"));
  RUNNEL_DO(verify());
  RUNNEL_DO(step("commit"));
  return transaction.commit();
}

// The error to report: why, and what of the way back failed, if something did.
Error Install::take_back(Transaction* transaction, const Error& why) {
  options_.say("failed: " + why.message);
  options_.say("taking everything back");
  std::string trouble;
  const auto note = [&](const Result<void>& done) {
    if (!done) trouble += "; and on the way back: " + done.error().message;
  };
  if (unpacked_) note(release_layers(options_));
  if (transaction != nullptr) note(roll_back({transaction, 1}, true, options_.say));
  if (restarted_) note(restart_containerd(options_));
  if (node_started_) {
    if (auto ran = run_shell(options_.stop_command, minutes(2)); !ran)
      note(std::unexpected(ran.error()));
  }
  if (trouble.empty()) return {why.code, why.message + " (everything is as it was)"};
  return {why.code, why.message + trouble};
}

Result<void> Install::change(const Transactions& transactions) {
  if (auto started = start_node(); !started)
    return std::unexpected(take_back(nullptr, started.error()));
  auto transaction = [&]() -> Result<Transaction> {
    RUNNEL_DO(step("journal"));
    return transactions.begin(plan_.changes);
  }();
  if (!transaction) return std::unexpected(take_back(nullptr, transaction.error()));
  const auto changed = change_steps(*transaction);
  if (!changed) return std::unexpected(take_back(&*transaction, changed.error()));
  ::unlink((options_.node_root + "/install/retired").c_str());  // an uninstall that is over now
  options_.say("installed; \"runnel node uninstall\" takes it back");
  return {};
}

// Last, because an install of the node alone looks like one that is complete.
void Install::say_what_streams() const {
  const auto asked = remote::mirrored_hosts(found_.certs_directory, options_.mirror);
  std::set<std::string> hosts(asked.begin(), asked.end());
  if (hosts.erase("_default") > 0) hosts.insert("every registry without a hosts.toml of its own");
  for (const auto& registry : registries_) hosts.insert(registry.host);
  hosts.insert(options_.node_registries.begin(), options_.node_registries.end());
  options_.say(what_streams(hosts));
}

Result<void> Install::run() {
  RUNNEL_DO(look());
  if (options_.dry_run) {
    RUNNEL_DO(make_plan());
    options_.say(plan_.changes.empty() ? "nothing to do"
                                       : "this is what would change (--dry-run: nothing has)");
    say_what_streams();
    return {};
  }
  RUNNEL_TRY(const auto transactions, Transactions::open(options_.node_root));
  RUNNEL_DO(take_back_interrupted(transactions));
  auto changed = [&]() -> Result<void> {
    RUNNEL_DO(make_plan());
    if (!plan_.changes.empty()) return change(transactions);
    options_.say("nothing to do");
    return {};
  }();
  transactions.remove_if_empty();
  if (changed) say_what_streams();
  return changed;
}

}  // namespace

Result<void> install(const Options& options) {
  return Install(options).run();
}

}  // namespace runnel::install
