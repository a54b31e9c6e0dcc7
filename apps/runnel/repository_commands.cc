// "runnel repository …" and "runnel manifest …" on the command line.
#include "api_commands.h"
#include "cli/manifest.h"

namespace runnel {

namespace {

using cli::ManifestOptions;
using cli::RepositoryOptions;

constexpr auto kAlsoName = RegistryFlag::kAlsoName;
constexpr auto kAlone = RegistryFlag::kAlone;

void add_target(CLI::App& command, RepositoryOptions& options) {
  auto* repository = command.add_option("--repository", options.repository, "name of a repository");
  command.add_option("-t,--image", options.image, "REPOSITORY:TAG or REPOSITORY@DIGEST")
      ->excludes(repository);
}

void add_top(CLI::App& command, std::optional<unsigned>& into) {
  command.add_option("--top", into, "only so many")->check(CLI::Range(1u, 1'000'000u));
}

// --name/-n, or the same as the command's argument.
void add_name(CLI::App& command, ManifestOptions& options, const char* what) {
  auto* group = command.add_option_group("name");
  group->add_option("-n,--name", options.name, what);
  group->add_option("NAME", options.name, std::string("the same, perhaps as HOST/…"));
  group->require_option(1);
}

constexpr const char* kImage = "REPOSITORY:TAG or REPOSITORY@DIGEST";

}  // namespace

void add_repository_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("repository", "the repositories of a registry");
  group->require_subcommand(1);
  group->footer("Example: runnel repository list --registry registry.example");
  const auto add = [&](const char* name, const char* what, const std::string& example,
                       int (*run)(const RepositoryOptions&)) {
    return add_api_command(*group, action, name, what, "repository " + example, kAlsoName, run);
  };
  const auto list = add("list", "names of the repositories",
                        "list --registry registry.example -o tsv", cli::repository_list);
  add_top(*list.command, list.options->top);
  const auto tags =
      add("show-tags", "the tags of a repository",
          "show-tags --registry registry.example --repository team/app", cli::repository_tags);
  tags.command->add_option("--repository", tags.options->repository, "name of a repository")
      ->required();
  add_top(*tags.command, tags.options->top);
  const auto show =
      add("show", "what may be done to a repository, a tag or a manifest",
          "show --registry registry.example --repository team/app -o jsonc", cli::repository_show);
  add_target(*show.command, *show.options);
  const auto update =
      add("update", "change what may be done to it",
          "update --registry registry.example --image team/app:v1 --delete-enabled false",
          cli::repository_update);
  add_target(*update.command, *update.options);
  add_attribute_flags(*update.command, update.options->attributes);
  const auto remove =
      add("delete", "delete a repository, or an image with its tags and streaming artifact",
          "delete --registry registry.example --image team/app:v1 --yes", cli::repository_delete);
  add_target(*remove.command, *remove.options);
  add_yes_flag(*remove.command, remove.options->api);
  const auto untag =
      add("untag", "take a tag away and leave the image",
          "untag --registry registry.example --image team/app:v1", cli::repository_untag);
  untag.command->add_option("-t,--image", untag.options->image, "REPOSITORY:TAG")->required();
  add("list-deleted", "repositories in which something was deleted that can come back",
      "list-deleted --registry registry.example", cli::repository_list_deleted);
}

void add_manifest_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("manifest", "the manifests of a repository");
  group->require_subcommand(1);
  group->footer("Example: runnel manifest list-referrers -r registry.example -n team/app:v1");
  const auto add = [&](const char* name, const char* what, const std::string& example,
                       const char* named, int (*run)(const ManifestOptions&)) {
    auto made = add_api_command(*group, action, name, what, "manifest " + example, kAlone, run);
    add_name(*made.command, *made.options, named);
    return made;
  };
  const auto list =
      add("list", "all manifests with their tags, also those without one",
          "list -r registry.example -n team/app -o table", "REPOSITORY", cli::manifest_list);
  add_top(*list.command, list.options->top);
  const auto metadata = add("list-metadata", "the same, with what may be done to each",
                            "list-metadata -r registry.example -n team/app", "REPOSITORY",
                            cli::manifest_list_metadata);
  add_top(*metadata.command, metadata.options->top);
  const auto referrers = add(
      "list-referrers", "what refers to an image: its streaming artifacts, signatures, …",
      "list-referrers -r registry.example -n team/app:v1", kImage, cli::manifest_list_referrers);
  referrers.command->add_option("--artifact-type", referrers.options->artifact_type,
                                "only of this type");
  referrers.command->add_flag("--recursive", referrers.options->recursive,
                              "also what refers to those");
  add("show", "the manifest of an image", "show -r registry.example -n team/app:v1", kImage,
      cli::manifest_show);
  add("show-metadata", "what may be done to a manifest",
      "show-metadata -r registry.example -n team/app:v1", kImage, cli::manifest_show_metadata);
  const auto update =
      add("update-metadata", "change what may be done to a tag or a manifest",
          "update-metadata -r registry.example -n team/app:v1 --write-enabled false", kImage,
          cli::manifest_update_metadata);
  add_attribute_flags(*update.command, update.options->attributes);
  const auto remove =
      add("delete", "delete an image with its tags and streaming artifact",
          "delete -r registry.example -n team/app:v1 --yes", kImage, cli::manifest_delete);
  add_yes_flag(*remove.command, remove.options->api);
  add("list-deleted", "manifests that were deleted and can come back",
      "list-deleted -r registry.example -n team/app", "REPOSITORY", cli::manifest_list_deleted);
  add("list-deleted-tags", "tags that were deleted or pushed over and can come back",
      "list-deleted-tags -r registry.example -n team/app", "REPOSITORY[:TAG]",
      cli::manifest_list_deleted_tags);
  const auto restore =
      add("restore", "bring back what was deleted", "restore -r registry.example -n team/app:v1",
          kImage, cli::manifest_restore);
  restore.command->add_option("-d,--digest", restore.options->digest,
                              "which one, when the tag had several");
  restore.command->add_flag("-f,--force", restore.options->force,
                            "move the tag although it was pushed again since; asks first");
  add_yes_flag(*restore.command, restore.options->api);
}

}  // namespace runnel
