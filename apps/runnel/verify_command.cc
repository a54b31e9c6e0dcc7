// "runnel verify" on the command line.
#include "api_commands.h"
#include "cli/verify.h"

namespace runnel {

void add_verify_command(CLI::App& app, Action& action) {
  const auto added = add_api_command<cli::VerifyOptions>(
      app, action, "verify",
      "make an image's streaming artifacts again and compare; exit code 1 when they differ",
      "verify registry.example/team/app:v1 -o table", RegistryFlag::kAlone, cli::verify);
  added.command->add_option("REFERENCE", added.options->image, "[HOST/]REPO:TAG or REPO@DIGEST")
      ->required();
  added.command
      ->add_option("--work-directory", added.options->work_directory,
                   "where layers are laid out, one at a time")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  added.command->add_option("--threads", added.options->threads, "of compression")
      ->check(CLI::Range(1u, 256u))
      ->capture_default_str();
}

}  // namespace runnel
