// "runnel artifact-streaming …" on the command line.
#include "api_commands.h"
#include "cli/artifact_streaming.h"

namespace runnel {

namespace {

using cli::StreamingOptions;

using Added = AddedCommand<StreamingOptions>;

constexpr const char* kImage = "REPOSITORY:TAG or REPOSITORY@DIGEST";

void add_image(const Added& to, bool required) {
  to.command->add_option("-t,--image", to.options->image, kImage)->required(required);
}

void add_repository(const Added& to, bool required) {
  to.command->add_option("--repository", to.options->repository, "name of a repository")
      ->required(required);
}

void add_operation(const Added& to) {
  add_image(to, false);
  add_repository(to, false);
  to.command->add_option("--id", to.options->id, "of the operation, with --repository");
}

void add_operation_commands(CLI::App& group, Action& action) {
  auto* operation = group.add_subcommand("operation", "conversions that go on or have ended");
  operation->require_subcommand(1);
  operation->footer(
      "Example: runnel artifact-streaming operation show -n registry.example --image team/app:v1");
  const auto add = [&](const char* name, const char* what, const std::string& example,
                       int (*run)(const StreamingOptions&)) {
    return add_api_command(*operation, action, name, what,
                           "artifact-streaming operation " + example, RegistryFlag::kAlsoName, run);
  };
  add_operation(add("show", "how far a conversion is: the last one of an image, or one by its id",
                    "show -n registry.example --image team/app:v1", cli::streaming_operation_show));
  add_operation(add("cancel", "stop a conversion",
                    "cancel -n registry.example --repository team/app --id "
                    "9d3c1c1e-2f5e-4c5b-8f60-0d6d3f2d6d0b",
                    cli::streaming_operation_cancel));
  const auto list = add("list", "conversions, the newest first",
                        "list -n registry.example --repository team/app --status Failed -o table",
                        cli::streaming_operation_list);
  add_repository(list, false);
  list.command->add_option("--status", list.options->status, "only those")
      ->check(CLI::IsMember({"NotStarted", "Running", "Succeeded", "Failed", "Canceled"}));
  list.command->add_option("--top", list.options->top, "only so many")
      ->check(CLI::Range(1u, 1'000'000u));
}

}  // namespace

void add_streaming_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("artifact-streaming", "a registry's conversion of images");
  group->require_subcommand(1);
  group->footer(
      "Example: runnel artifact-streaming create -n registry.example --image team/app:v1");
  const auto add = [&](const char* name, const char* what, const std::string& example,
                       int (*run)(const StreamingOptions&)) {
    return add_api_command(*group, action, name, what, "artifact-streaming " + example,
                           RegistryFlag::kAlsoName, run);
  };
  const auto create = add("create", "have an image converted in the registry, and wait until it is",
                          "create -n registry.example --image team/app:v1", cli::streaming_create);
  add_image(create, false);
  add_repository(create, false);
  create.command->add_flag("--all", create.options->all,
                           "every tagged image of --repository that has no artifact yet");
  create.command->add_flag("--no-wait", create.options->no_wait, "only begin");
  create.command
      ->add_option("--poll-interval", create.options->poll_seconds,
                   "seconds between two looks while something changes; longer when nothing does")
      ->check(CLI::Range(0.05, 60.0))
      ->capture_default_str();
  add_repository(add("show", "whether images that are pushed to a repository are converted",
                     "show -n registry.example --repository team/app", cli::streaming_show),
                 true);
  const auto update =
      add("update", "switch the conversion of pushed images on or off",
          "update -n registry.example --repository team/app --enable-streaming true",
          cli::streaming_update);
  add_repository(update, true);
  update.command->add_option("--enable-streaming", update.options->enable, "true or false")
      ->type_name("true|false");
  update.command
      ->add_option(
          "--hold-tag", update.options->hold_tag_seconds,
          "seconds that a pushed tag waits at most for its artifact, so that no node pulls "
          "in between; 0: not at all")
      ->check(CLI::Range(0u, 3600u));
  const auto remove =
      add("delete", "delete an image's artifacts and leave the image",
          "delete -n registry.example --image team/app:v1 --yes", cli::streaming_delete);
  add_image(remove, true);
  add_yes_flag(*remove.command, remove.options->api);
  add_operation_commands(*group, action);
  auto* profile = group->add_subcommand("profile", "what the starts of images read");
  profile->require_subcommand(1);
  profile->footer(
      "Example: runnel artifact-streaming profile show -n registry.example --image team/app:v1");
  add_image(add_api_command(*profile, action, "show",
                            "the chunks that nodes' starts of an image have in common, in order",
                            "artifact-streaming profile show -n registry.example --image "
                            "team/app:v1",
                            RegistryFlag::kAlsoName, cli::streaming_profile_show),
            true);
}

}  // namespace runnel
