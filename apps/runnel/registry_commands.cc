#include "registry_commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "registry/config.h"
#include "registry_tools.h"

namespace runnel {

namespace {

using Run = int (*)(const RegistryToolOptions&);
using Options = std::shared_ptr<RegistryToolOptions>;

}  // namespace

void add_registry_commands(CLI::App& registry, std::function<int()>& action) {
  const auto add = [&](const char* name, const char* what, const std::string& example, Run run) {
    auto* command = registry.add_subcommand(name, what);
    command->footer("Example: runnel registry " + example);
    auto options = std::make_shared<RegistryToolOptions>();
    command
        ->add_option(
            "--data", options->data,
            fmt::format("directory of the blobs and the database [{}]", registry::Config().data))
        ->envname("RUNNEL_DATA");
    command->add_option("--config", options->config, "TOML file of the registry");
    command->callback(
        [&action, options, run] { action = [options, run] { return run(*options); }; });
    return std::pair<CLI::App*, Options>(command, options);
  };
  const auto add_json = [](const std::pair<CLI::App*, Options>& made) {
    made.first->add_flag("--json", made.second->json, "print JSON");
  };

  auto gc = add("gc", "collect what nothing needs any more, now",
                "gc --config /etc/runnel/registry.toml --dry-run", registry_gc);
  gc.first->add_flag("--dry-run", gc.second->dry_run, "only say what would be collected");
  auto fsck = add("fsck", "check everything that is stored", "fsck --repair", registry_fsck);
  fsck.first->add_flag("--repair", fsck.second->repair,
                       "set aside what is damaged, so that a push can bring it back");
  auto backup =
      add("backup", "copy a data directory that may be in use",
          "backup --data /var/lib/runnel/registry --to /backup/registry", registry_backup);
  backup.first
      ->add_option("--to", backup.second->to, "directory: absent, empty, or an earlier backup")
      ->required();
  add_json(add("usage", "how many bytes repositories have", "usage --json", registry_usage));
  auto deleted = add("deleted", "list what was deleted and can come back",
                     "deleted --repository team/app", registry_deleted);
  deleted.first->add_option("--repository", deleted.second->repository, "only of this one");
  add_json(deleted);
  auto restore = add("restore", "undo a deletion", "restore 17", registry_restore);
  restore.first->add_option("ID", restore.second->id, "as `runnel registry deleted` prints it")
      ->required();
  auto purge = add("purge", "forget a deletion, for good", "purge 17", registry_purge);
  purge.first->add_option("ID", purge.second->id, "as `runnel registry deleted` prints it")
      ->required();
}

}  // namespace runnel
