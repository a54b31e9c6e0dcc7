// Images: what is known of a start, put together for timeline/.
#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "node/file_finder.h"
#include "node/images.h"
#include "timeline/escape.h"

namespace runnel::node {

namespace {

using timeline::Us;

// Of all layers: what a picture and its reader can take.
constexpr size_t kMaxReads = 100'000;
constexpr size_t kMaxName = 300;

const char* to_string(cache::Origin origin) {
  switch (origin) {
    case cache::Origin::kBefore: return "before";
    case cache::Origin::kDemand: return "demand";
    case cache::Origin::kAhead: return "ahead";
    case cache::Origin::kHotPack: return "hot pack";
    case cache::Origin::kFill: return "fill";
    case cache::Origin::kOriginal: return "original";
    case cache::Origin::kNode: return "node";
  }
  return "before";
}

const char* to_string(cache::Wait wait) {
  switch (wait) {
    case cache::Wait::kNone: return "none";
    case cache::Wait::kFetch: return "fetch";
    case cache::Wait::kJoined: return "joined";
    case cache::Wait::kCheck: return "check";
    case cache::Wait::kRefused: return "refused";
    case cache::Wait::kFailed: return "failed";
  }
  return "none";
}

timeline::Who who_made(const net::TransferReport& report) {
  using timeline::Who;
  const std::string_view purpose = report.purpose;
  if (purpose == "node") return Who::kNode;
  if (purpose == "token") return Who::kToken;
  for (const auto priority :
       {fetch::Priority::kDemand, fetch::Priority::kPrefetch, fetch::Priority::kBackground}) {
    if (purpose == fetch::to_string(priority))
      return static_cast<Who>(static_cast<size_t>(Who::kDemand) + static_cast<size_t>(priority));
  }
  return Who::kClient;
}

// "bytes=FIRST-LAST".
bool parse_range(std::string_view text, uint64_t& first, uint64_t& last) {
  constexpr std::string_view kUnit = "bytes=";
  if (!text.starts_with(kUnit)) return false;
  text.remove_prefix(kUnit.size());
  const auto parse = [](std::string_view digits, uint64_t& number) {
    const auto [rest, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return bad == std::errc() && rest == digits.data() + digits.size();
  };
  const auto dash = text.find('-');
  return dash != text.npos && parse(text.substr(0, dash), first) &&
         parse(text.substr(dash + 1), last);
}

// What of an image a digest is.
struct Part {
  std::string hex;
  std::string what;
  uint32_t layer = 0;  // whose blob it is, from 1
};

timeline::Request request_of(const net::TransferReport& report, const std::vector<Part>& parts) {
  timeline::Request request{.number = report.number,
                            .who = who_made(report),
                            .what = "other",
                            .method = report.method,
                            .path = timeline::printable(report.url, kMaxName),
                            .asked = microseconds(report.asked),
                            .sent = microseconds(report.sent),
                            .first_byte = microseconds(report.first_byte),
                            .ended = microseconds(report.ended),
                            .connected = report.connected,
                            .bytes = report.bytes,
                            .status = report.status,
                            .error = timeline::printable(report.error, kMaxName)};
  request.ranged = parse_range(report.range, request.first, request.last);
  const auto part = std::ranges::find_if(
      parts, [&](const Part& each) { return report.url.find(each.hex) != std::string::npos; });
  const auto has = [&](std::string_view text) {
    return report.url.find(text) != std::string::npos;
  };
  if (request.who == timeline::Who::kToken) {
    request.what = "token";
  } else if (has("/referrers/")) {
    request.what = "referrers";
  } else if (has("/_profiles/")) {
    request.what = "profile";
  } else if (part != parts.end()) {
    request.what = part->what;
    request.layer = part->layer;
  } else if (const auto at = report.url.rfind("/manifests/"); at != std::string::npos) {
    const bool digest = report.url.find(':', at) != std::string::npos;
    request.what = !digest ? "manifest " + timeline::printable(report.url.substr(at + 11), 40)
                   : request.who == timeline::Who::kNode ? "artifact manifest"
                                                         : "index";
  } else if (has("/blobs/")) {
    request.what = "another blob";
  }
  return request;
}

}  // namespace

std::shared_ptr<const Images::Image> Images::latest_locked(const oci::Reference& reference,
                                                           Which which) const {
  std::shared_ptr<const Image> found;
  for (const auto& [subject, each] : images_) {
    const bool meant = each->host == reference.host && each->repository == reference.repository &&
                       (!reference.digest || *reference.digest == subject) &&
                       (each->streamed || which == Which::kAny);
    if (meant && (!found || each->decided > found->decided || each->preparing)) found = each;
  }
  return found;
}

Result<timeline::Events> Images::start_events(
    const oci::Reference& reference,
    const std::function<std::string(const std::string& host)>& authority) const {
  std::shared_ptr<const StreamedImage> streamed;
  timeline::Events events;
  std::string place, host;
  std::vector<Part> parts;
  {
    const std::lock_guard lock(mutex_);
    const auto image = latest_locked(reference, Which::kAny);
    if (!image)
      return fail(Code::kNotFound, "{}: this node did not see it pulled, or has let it go",
                  reference.to_string());
    streamed = image->streamed;
    events.image = image->name();
    events.reason = image->preparing ? "Preparing" : node::to_string(image->verdict.reason);
    events.begun_before_worker = streamed && image->decided == SteadyTime();
    place = image->place();
    host = image->host;
    parts.push_back({.hex = std::string(image->subject.hex()), .what = "image manifest"});
    if (!image->manifest.config.digest.empty())
      parts.push_back(
          {.hex = std::string(image->manifest.config.digest.hex()), .what = "configuration"});
  }
  events.now = microseconds(clock_.now());
  Us since = 0;
  if (options_.log != nullptr) {
    events.worker_started = microseconds(options_.log->worker_started());
    auto start = options_.log->start(place, authority(host));
    events.dropped = start.dropped;
    events.spans = std::move(start.steps);
    if (streamed) {
      parts.push_back({.hex = std::string(streamed->artifact.boot.hex()), .what = "boot blob"});
      uint32_t number = 0;
      for (const auto& digest : device_digests(streamed->boot, streamed->chain_ids.size())) {
        ++number;
        parts.push_back({.hex = std::string(digest.hex()),
                         .what = fmt::format("layer {}", number),
                         .layer = number});
      }
      number = 0;
      for (const auto& layer : streamed->artifact.layers)
        parts.push_back({.hex = std::string(layer.source.hex()),
                         .what = fmt::format("original layer {}", ++number)});
    }
    for (const auto& report : start.requests) events.requests.push_back(request_of(report, parts));
    for (const auto& span : events.spans)
      if (span.kind == timeline::Span::Kind::kPreparation) since = std::max(since, span.begin);
  }
  if (!streamed) return events;
  events.boot_bytes = streamed->artifact.boot_size;

  std::vector<DeviceBlock> blocks;
  uint16_t slot = 0;
  for (const auto& digest : device_digests(streamed->boot, streamed->chain_ids.size())) {
    ++slot;
    const auto layer = engine_.layer(digest);
    if (!layer) continue;
    for (const auto& touch : layer->touches()) {
      const Us at = microseconds(touch.at);
      if (at < since) continue;
      if (events.reads.size() >= kMaxReads) {
        ++events.dropped;
        continue;
      }
      const auto chunk = layer->table().at(touch.chunk);
      const auto after = [&](uint32_t us) { return at + static_cast<Us>(us); };
      const bool waited = touch.wait == cache::Wait::kFetch || touch.wait == cache::Wait::kJoined;
      const bool ready = touch.ready_us != cache::Touch::kNotYet;
      events.reads.push_back(
          {.layer = slot,
           .chunk = touch.chunk,
           .blob_offset = chunk.blob_offset,
           .stored = chunk.stored_size,
           .file = {},
           .at = at,
           .arrived = waited && ready ? after(touch.arrived_us) : timeline::kNone,
           .ready = ready ? after(touch.ready_us) : timeline::kNone,
           .origin = to_string(touch.origin),
           .wait = to_string(touch.wait)});
      blocks.push_back(
          {.device = slot, .block = chunk.device_offset() / artifact::kBlockSize + touch.block});
    }
  }
  auto files = find_files(streamed->metadata_path(), blocks);
  if (!files) {
    log::warning(log::Fields{{"image", events.image}}, "its files are not named: {}",
                 files.error().message);
    return events;
  }
  for (size_t i = 0; i < events.reads.size(); ++i)
    events.reads[i].file = timeline::printable((*files)[i], kMaxName);
  return events;
}

}  // namespace runnel::node
