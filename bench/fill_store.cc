// runnel-fill-store: writes repositories with many manifests, tags or referrers straight into a
// registry's data directory, through the stores that the registry itself uses. Each manifest is a
// transaction with its sync, so a directory on tmpfs is much the fastest place to make a large one.
#include <CLI/CLI.hpp>

#include "blob/directory_store.h"
#include "meta/sqlite_store.h"
#include "oci/media_types.h"
#include "registry/new_manifest.h"
#include "registry/uploads.h"

namespace runnel::bench {

namespace {

constexpr std::string_view kConfig = "{}";

struct Options {
  std::string data;
  std::string repository = "bench/store";
  uint64_t repositories = 1;
  uint64_t manifests = 1;  // over all repositories; each with a tag
  uint64_t tags = 0;       // more tags of each repository's last manifest
  uint64_t referrers = 0;  // of each repository's last manifest
};

class Filler {
 public:
  static Result<std::unique_ptr<Filler>> open(const Options& options);
  // The last manifest's digest.
  Result<oci::Digest> fill();

 private:
  explicit Filler(const Options& options) : options_(options) {}

  std::string repository(uint64_t number) const;
  Result<void> push_config(const std::string& repository);
  Result<oci::Digest> put(const std::string& repository, const std::string& json,
                          std::vector<std::string> tags);
  std::string manifest(uint64_t number, const std::optional<oci::Digest>& subject) const;

  const Options& options_;
  SystemClock clock_;
  const oci::Digest config_ = oci::Digest::of(as_bytes(kConfig));
  std::unique_ptr<blob::DirectoryStore> blobs_;
  std::unique_ptr<meta::SqliteStore> metadata_;
};

Result<std::unique_ptr<Filler>> Filler::open(const Options& options) {
  std::unique_ptr<Filler> made(new Filler(options));
  RUNNEL_TRY(made->blobs_, blob::DirectoryStore::open(options.data + "/content"));
  RUNNEL_TRY(made->metadata_,
             meta::SqliteStore::open(options.data + "/metadata.sqlite", made->clock_));
  return made;
}

std::string Filler::repository(uint64_t number) const {
  return options_.repositories == 1 ? options_.repository
                                    : fmt::format("{}-{}", options_.repository, number);
}

Result<void> Filler::push_config(const std::string& repository) {
  registry::Uploads uploads(*blobs_, *metadata_, clock_, std::chrono::hours(1));
  RUNNEL_TRY(const auto upload, uploads.start(repository, ""));
  RUNNEL_TRY(const auto receiving,
             uploads.receive(repository, "", upload.id, oci::Algorithm::kSha256));
  RUNNEL_DO(receiving->append(as_bytes(kConfig)));
  return receiving->finish(config_);
}

std::string Filler::manifest(uint64_t number, const std::optional<oci::Digest>& subject) const {
  const auto about =
      subject ? fmt::format("\"subject\":{{\"mediaType\":\"{}\",\"digest\":\"{}\",\"size\":2}},",
                            oci::kOciManifest, *subject)
              : std::string();
  return fmt::format(
      "{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"artifactType\":\"application/vnd.bench\",{}"
      "\"config\":{{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"{}\","
      "\"size\":2}},\"layers\":[],\"annotations\":{{\"bench.number\":\"{}\"}}}}",
      oci::kOciManifest, about, config_, number);
}

Result<oci::Digest> Filler::put(const std::string& repository, const std::string& json,
                                std::vector<std::string> tags) {
  RUNNEL_TRY(auto made,
             registry::new_manifest(as_bytes(json), oci::kOciManifest, oci::Algorithm::kSha256));
  made.tags = std::move(tags);
  RUNNEL_TRY(const auto outcome, metadata_->put_manifest(repository, made));
  if (!outcome.missing.empty()) return fail(Code::kConflict, "{} lacks a blob", repository);
  return made.digest;
}

Result<oci::Digest> Filler::fill() {
  oci::Digest last;
  for (uint64_t number = 0; number < options_.repositories; ++number) {
    const auto name = repository(number);
    RUNNEL_DO(push_config(name));
    const auto end = options_.manifests * (number + 1) / options_.repositories;
    for (auto i = options_.manifests * number / options_.repositories; i < end; ++i) {
      RUNNEL_TRY(last, put(name, manifest(i, std::nullopt), {fmt::format("m{}", i)}));
    }
    std::vector<std::string> tags;
    tags.reserve(options_.tags);
    for (uint64_t i = 0; i < options_.tags; ++i) tags.push_back(fmt::format("release-{:08}", i));
    if (!tags.empty()) RUNNEL_DO(put(name, manifest(end - 1, std::nullopt), std::move(tags)));
    for (uint64_t i = 0; i < options_.referrers; ++i) RUNNEL_DO(put(name, manifest(i, last), {}));
  }
  return last;
}

int main_of(int argc, char** argv) {
  Options options;
  CLI::App app(
      "writes many manifests, tags or referrers straight into a registry's data directory");
  app.add_option("--data", options.data, "is made if it is absent")->required();
  app.add_option("--repository", options.repository,
                 "with a number behind it if there are several");
  app.add_option("--repositories", options.repositories)->check(CLI::PositiveNumber);
  app.add_option("--manifests", options.manifests, "over all repositories, each with a tag")
      ->check(CLI::PositiveNumber);
  app.add_option("--tags", options.tags, "more tags of each repository's last manifest");
  app.add_option("--referrers", options.referrers, "of each repository's last manifest");
  CLI11_PARSE(app, argc, argv);
  const auto filler = Filler::open(options);
  const auto last = filler ? (*filler)->fill() : std::unexpected(filler.error());
  if (!last) {
    fmt::print(stderr, "runnel-fill-store: {}\n", last.error().message);
    return 1;
  }
  fmt::print("{}\n", *last);
  return 0;
}

}  // namespace

}  // namespace runnel::bench

int main(int argc, char** argv) {
  return runnel::bench::main_of(argc, argv);
}
