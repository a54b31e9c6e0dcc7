#include "registry/held_tags.h"

#include <charconv>
#include <optional>

#include "base/log.h"
#include "meta/stored_time.h"
#include "registry/streaming_settings.h"

namespace runnel::registry {

namespace {

constexpr std::string_view kKind = "held-tag";
constexpr size_t kPage = 100;

// "team/app v1 sha256:…": a space is in no name, and sorts before all that may be.
std::string name_of(std::string_view repository, std::string_view tag, const oci::Digest& digest) {
  return fmt::format("{} {} {}", repository, tag, digest);
}

int64_t milliseconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

// A document's body: when the wait is over, and for how long it is, in milliseconds. The latter is
// missing in those of older programs, and is not more than may be asked for.
struct Wait {
  int64_t until = 0;
  int64_t time = kMaxHoldTag * 1000;

  static Wait of(std::string_view body) {
    Wait wait;
    const auto* const begin = body.data();
    const auto* const end = begin + body.size();
    const auto* const rest = std::from_chars(begin, end, wait.until).ptr;
    if (rest != end) std::from_chars(rest + 1, end, wait.time);
    return wait;
  }
  std::string text() const { return fmt::format("{} {}", until, time); }
  bool is_over(int64_t now) const { return until <= now || until > now + 2 * time; }
};

}  // namespace

std::vector<meta::DocumentPattern> held_for(std::string_view repository,
                                            const std::vector<std::string>& tags) {
  std::vector<meta::DocumentPattern> held;
  held.reserve(tags.size());
  for (const auto& tag : tags)
    held.emplace_back(std::string(kKind), fmt::format("{} {} ", repository, tag));
  return held;
}

std::vector<meta::DocumentPattern> held_for(std::string_view repository,
                                            const oci::Digest& manifest) {
  return {{std::string(kKind), fmt::format("{} ", repository), fmt::format(" {}", manifest)}};
}

std::vector<meta::DocumentPattern> held_for(std::string_view repository) {
  return {{std::string(kKind), fmt::format("{} ", repository)}};
}

void hold_tags(meta::NewManifest& manifest, std::string_view repository, WallTime now,
               Duration time) {
  const Wait wait{.until = meta::to_milliseconds(now + time), .time = milliseconds(time)};
  manifest.replaces = held_for(repository, manifest.tags);
  for (const auto& tag : manifest.tags)
    manifest.documents.emplace_back(std::string(kKind), name_of(repository, tag, manifest.digest),
                                    wait.text());
  manifest.tags.clear();
}

struct HeldTags::Held {
  std::string name;  // the document's
  std::string repository;
  std::string tag;
  oci::Digest digest;
  Wait wait;

  static std::optional<Held> of(const meta::Document& document) {
    const auto& name = document.name;
    const auto first = name.find(' ');
    const auto second = name.rfind(' ');
    if (first == std::string::npos || first == second) return std::nullopt;
    auto digest = oci::Digest::parse(std::string_view(name).substr(second + 1));
    if (!digest) return std::nullopt;
    Held made{.name = name,
              .repository = name.substr(0, first),
              .tag = name.substr(first + 1, second - first - 1),
              .digest = *std::move(digest),
              .wait = Wait::of(document.body)};
    return made;
  }
};

// Those whose names begin with the prefix, after `after`, which is then the last one looked at; ""
// when there are no more.
Result<std::vector<HeldTags::Held>> HeldTags::page(std::string_view prefix, std::string& after) {
  RUNNEL_TRY(const auto documents, metadata_.documents(kKind, after, kPage));
  after.clear();
  std::vector<Held> found;
  for (const auto& document : documents) {
    if (!document.name.starts_with(prefix)) return found;
    if (auto held = Held::of(document)) found.push_back(*std::move(held));
  }
  if (documents.size() == kPage) after = documents.back().name;
  return found;
}

Result<void> HeldTags::point(const Held& held) {
  RUNNEL_TRY(const auto policy, soft_delete_policy(metadata_, configured_));
  RUNNEL_DO(metadata_.point_waiting_tag({.document = {std::string(kKind), held.name},
                                         .repository = held.repository,
                                         .tag = held.tag,
                                         .digest = held.digest,
                                         .undo = policy.undo()}));
  return {};
}

Result<void> HeldTags::release(const std::string& repository, const oci::Digest& digest) {
  const auto prefix = repository + " ";
  std::string after = prefix;
  while (!after.empty()) {
    RUNNEL_TRY(const auto held, page(prefix, after));
    for (const auto& each : held)
      if (each.digest == digest) RUNNEL_DO(point(each));
  }
  return {};
}

Result<void> HeldTags::release_due() {
  const auto now = meta::to_milliseconds(clock_.wall());
  // Below every name.
  std::string after = " ";
  while (!after.empty()) {
    RUNNEL_TRY(const auto held, page("", after));
    for (const auto& each : held)
      if (each.wait.is_over(now)) RUNNEL_DO(point(each));
  }
  return {};
}

}  // namespace runnel::registry
