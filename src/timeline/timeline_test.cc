#include "timeline/timeline.h"

#include <gmock/gmock.h>

#include <numeric>

#include "timeline/escape.h"
#include "timeline/rows.h"
#include "timeline/svg.h"
#include "timeline/text.h"
#include "timeline/timeline_json.h"

namespace runnel::timeline {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Us kMs = 1000;
constexpr Us kStart = 500'000'000;  // of the machine's uptime

Us at(double ms) {
  return kStart + static_cast<Us>(ms * kMs);
}

Request request(Who who, std::string what, double asked, double sent, double first, double ended) {
  static uint64_t number = 0;
  return {.number = ++number,
          .who = who,
          .what = std::move(what),
          .method = "GET",
          .path = "http://registry/v2/a/x",
          .asked = at(asked),
          .sent = at(sent),
          .first_byte = at(first),
          .ended = at(ended),
          .bytes = 1000,
          .status = 200,
          .error = {}};
}

Span span(Span::Kind kind, std::string what, double begin, double end) {
  return {.kind = kind, .what = std::move(what), .detail = {}, .begin = at(begin), .end = at(end)};
}

Read fetched(uint32_t chunk, double from, double arrived, double ready) {
  return {.layer = 1,
          .chunk = chunk,
          .blob_offset = chunk * 1000,
          .stored = 1000,
          .file = "/bin/" + std::to_string(chunk),
          .at = at(from),
          .arrived = at(arrived),
          .ready = at(ready),
          .origin = "demand",
          .wait = "fetch"};
}

// 0 client's manifest 30 … preparation 30 to 100 with a request, a step and a rest … call to 105 …
// idle to 150 … a read to 200 … idle to 210 … a read from memory.
Events sample() {
  Events events;
  events.image = "registry/a@sha256:1";
  events.now = at(10'000);
  events.worker_started = at(-60'000);
  auto manifest = request(Who::kClient, "image manifest", 0, 10, 29, 30);
  manifest.connected = true;
  events.requests.push_back(manifest);
  events.requests.push_back(request(Who::kNode, "boot blob", 30, 31, 50, 60));
  events.spans.push_back(span(Span::Kind::kPreparation, "preparation", 30, 100));
  events.spans.push_back(span(Span::Kind::kStep, "keep the image on disk", 60, 80));
  events.spans.push_back(span(Span::Kind::kStep, "mount", 80, 95));
  events.spans.push_back(span(Span::Kind::kCall, "Prepare", 35, 105));
  auto range = request(Who::kDemand, "layer 1", 151, 151, 190, 197);
  range.layer = 1;
  range.ranged = true;
  range.first = 2000;
  range.last = 4999;
  events.requests.push_back(range);
  events.reads.push_back(fetched(3, 150, 196, 200));
  auto hit = fetched(9, 210, 210, 210);
  hit.wait = "none";
  hit.origin = "hot pack";
  hit.arrived = kNone;
  events.reads.push_back(hit);
  return events;
}

Us of(const Timeline& line, Cause cause) {
  return line.by_cause[static_cast<size_t>(cause)];
}

TEST(Timeline, LaysEveryMomentToOneCause) {
  const auto line = analyse(sample(), {}).value();

  EXPECT_EQ(line.begin, at(0));
  EXPECT_EQ(line.end, at(210));
  EXPECT_EQ(of(line, Cause::kConnect), 10 * kMs);
  EXPECT_EQ(of(line, Cause::kRoundTrip), (19 + 19 + 39) * kMs);
  EXPECT_EQ(of(line, Cause::kTransfer), (1 + 10 + 6) * kMs);
  EXPECT_EQ(of(line, Cause::kQueue), (1 + 1) * kMs);
  EXPECT_EQ(of(line, Cause::kDisk), 20 * kMs);
  EXPECT_EQ(of(line, Cause::kWork), (15 + 5) * kMs) << "mount, and the preparation's rest";
  EXPECT_EQ(of(line, Cause::kCall), 5 * kMs);
  EXPECT_EQ(of(line, Cause::kUnpack), 4 * kMs);
  EXPECT_EQ(of(line, Cause::kOutside), (45 + 10) * kMs);
  EXPECT_EQ(std::accumulate(line.by_cause.begin(), line.by_cause.end(), Us{0}), line.length());
}

TEST(Timeline, HasAPathWithoutGaps) {
  const auto line = analyse(sample(), {}).value();

  Us end = line.begin;
  for (const auto& segment : line.path) {
    EXPECT_EQ(segment.begin, end);
    end = segment.end;
  }
  EXPECT_EQ(end, line.end);
}

TEST(Timeline, NamesTheLongestWaits) {
  const auto line = analyse(sample(), {}).value();

  ASSERT_EQ(line.longest.size(), 5u);
  EXPECT_EQ(line.longest[0].what, "read /bin/3");
  EXPECT_EQ(line.longest[0].length(), 50 * kMs);
  ASSERT_EQ(line.longest[0].phases.size(), 4u);
  EXPECT_EQ(line.longest[0].phases[1].cause, Cause::kRoundTrip);
  EXPECT_EQ(line.longest[1].length(), 30 * kMs);
  EXPECT_EQ(line.longest[2].what, "GET boot blob") << "as long, and later";
  ASSERT_EQ(line.idle.size(), 2u);
  EXPECT_EQ(line.idle[0].length(), 45 * kMs);
}

TEST(Timeline, LaysAMomentToTheReadThatWaitedLongest) {
  auto events = sample();
  events.reads.push_back(fetched(7, 160, 240, 250));  // no request of it is known
  const auto line = analyse(events, {}).value();

  EXPECT_EQ(line.end, at(250));
  EXPECT_EQ(of(line, Cause::kUnpack), (4 + 10) * kMs);
  EXPECT_EQ(of(line, Cause::kOutside), 45 * kMs);
}

TEST(Timeline, LaysTheRestOfABootBlobToWhoWaitsForItsHotPack) {
  auto events = sample();
  events.requests[1].ended = at(148);  // the preparation has its front by then, and ends at 100
  auto late = fetched(4, 120, 140, 145);
  late.wait = "joined";
  late.origin = "hot pack";
  events.reads.push_back(late);

  const auto line = analyse(events, {}).value();

  EXPECT_EQ(of(line, Cause::kTransfer), (1 + 10 + 20 + 6) * kMs);
  EXPECT_EQ(of(line, Cause::kOutside), (15 + 5 + 10) * kMs) << "105 to 120, 145 to 150, 200 to 210";
  EXPECT_EQ(of(line, Cause::kUnpack), (5 + 4) * kMs);
  EXPECT_EQ(line.saving->waited, 50 * kMs) << "the pack is there already";
  EXPECT_TRUE(std::ranges::any_of(line.longest, [](const Waiting& each) {
    return each.what == "read /bin/4 (on its way in the hot pack)";
  }));
}

TEST(Timeline, CutsWhereItIsTold) {
  const auto line = analyse(sample(), 90 * kMs).value();

  EXPECT_EQ(line.length(), 90 * kMs);
  EXPECT_TRUE(line.cut);
  EXPECT_EQ(of(line, Cause::kUnpack), 0);
  EXPECT_EQ(of(line, Cause::kWork), 10 * kMs);
}

TEST(Timeline, EndsWithTheLastReadBeforeTwoQuietSeconds) {
  auto events = sample();
  events.reads.push_back(fetched(5, 1'500, 1'510, 1'520));
  events.reads.push_back(fetched(6, 4'000, 4'010, 4'020));  // the workload at work
  const auto line = analyse(events, {}).value();

  EXPECT_EQ(line.end, at(1'520));
  EXPECT_FALSE(line.cut);
}

TEST(Timeline, SaysThatAStartGoesOn) {
  auto events = sample();
  events.now = at(900);
  events.reads[0].arrived = events.reads[0].ready = kNone;  // it waits still
  events.requests[2].first_byte = events.requests[2].ended = kNone;
  const auto line = analyse(events, {}).value();

  EXPECT_EQ(line.end, at(900));
  EXPECT_TRUE(line.cut);
  EXPECT_EQ(line.longest[0].length(), 750 * kMs);
  EXPECT_EQ(line.longest[0].phases.back().cause, Cause::kRoundTrip);
}

TEST(Timeline, LeavesOutWhatNobodyWaitedFor) {
  auto events = sample();
  events.requests.push_back(request(Who::kNode, "tree", 110, 110, 140, 145));  // after preparation
  events.requests.push_back(request(Who::kBackground, "layer 1", 110, 110, 140, 145));
  const auto line = analyse(events, {}).value();

  EXPECT_EQ(of(line, Cause::kOutside), (45 + 10) * kMs);
  EXPECT_EQ(line.requests, 5u);
}

TEST(Timeline, TellsWhatAProfileWouldSave) {
  auto events = sample();
  EXPECT_FALSE(analyse(events, {})->bytes_per_second);
  events.requests[1].bytes = 10'000'000;  // in 10 ms
  const auto line = analyse(events, {}).value();

  EXPECT_EQ(line.bytes_per_second, 1'000'000'000u);
  ASSERT_TRUE(line.saving);
  EXPECT_EQ(line.saving->chunks, 1u) << "not what was in the hot pack";
  EXPECT_EQ(line.saving->bytes, 1000u);
  EXPECT_EQ(line.saving->waited, 50 * kMs);
  EXPECT_EQ(line.saving->transfer, 1);
}

TEST(Timeline, SumsRequestsByWhatTheyBrought) {
  const auto line = analyse(sample(), {}).value();

  EXPECT_EQ(line.requests, 3u);
  EXPECT_EQ(line.connections, 1u);
  EXPECT_EQ(line.bytes, 3000u);
  EXPECT_EQ(line.traffic.size(), 3u);
}

TEST(Timeline, SaysWhatAWorkerTookWithIt) {
  auto events = sample();
  events.worker_restarts = 1;
  events.worker_started = at(-300);
  EXPECT_THAT(analyse(events, {})->notes, testing::Contains(HasSubstr("is lost")));
  events.worker_started = at(20);
  EXPECT_THAT(analyse(events, {})->notes, testing::Contains(HasSubstr("is lost")));
}

TEST(Timeline, IsNotThereWithoutEvents) {
  Events events;
  events.image = "registry/a";
  EXPECT_EQ(analyse(events, {}).error(),
            Error(Code::kNotFound, "nothing is known of a start of registry/a"));
  events.begun_before_worker = true;
  EXPECT_EQ(
      analyse(events, {}).error().message,
      "nothing is known of a start of registry/a: it began before this worker of the node, and "
      "is lost with the last one");
}

TEST(Events, AreTheSameAfterJson) {
  const auto events = sample();
  const auto text = to_json(events);
  const auto again = parse_events(text).value();

  EXPECT_EQ(to_json(again), text);
  EXPECT_EQ(again.reads.size(), events.reads.size());
  EXPECT_EQ(again.requests[2].who, Who::kDemand);
}

TEST(Events, AreRefusedWhenTheyAreNone) {
  for (const char* text : {"", "[]", "{}", "{\"image\": 1}", "null"})
    EXPECT_EQ(parse_events(text).error().code, Code::kInvalid) << text;
  auto text = to_json(sample());
  text.replace(text.find("\"client\""), 8, "\"nobody\"");
  EXPECT_EQ(parse_events(text).error().code, Code::kInvalid);
}

TEST(TimelineText, FitsAHundredColumnsAndHasNoColoursUnlessAsked) {
  auto events = sample();
  auto far = fetched(77, 200, 205, 209);
  far.file = "/usr/lib/" + std::string(300, 'x');
  events.reads.push_back(far);
  const auto line = analyse(events, {}).value();
  const auto text = text_of(events, line, {});

  size_t begin = 0;
  while (begin < text.size()) {
    const auto end = text.find('\n', begin);
    EXPECT_LE(end - begin, 100u) << text.substr(begin, end - begin);
    begin = end + 1;
  }
  EXPECT_THAT(text, HasSubstr("round trip"));
  EXPECT_THAT(text, HasSubstr("read /bin/3"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text_of(events, line, {.colours = true}), HasSubstr("\x1b[38;5;"));
}

TEST(TimelineText, SaysHowLongAStartTookWhatForAndWhatHelps) {
  const auto events = sample();
  EXPECT_EQ(text_of(events, analyse(events, {}).value(), {}), R"(registry/a@sha256:1
210.0 ms from the first request to the last first read
2 reads of new chunks, 1 of them waited; 3 requests, 2.9 KiB, 1 connections
note: no request was large enough to tell how fast the line is

Where the time went
  r round trip          77.0 ms  36.7 %  until the registry's answer began
  . outside             55.0 ms  26.2 %  nobody waited for the node: containerd and the workload ran
  d disk                20.0 ms   9.5 %  this machine's disk
  # preparation         20.0 ms   9.5 %  the node prepared the image
  = transfer            17.0 ms   8.1 %  bytes on their way
  c connect             10.0 ms   4.8 %  TCP and TLS to the registry
  - containerd call      5.0 ms   2.4 %  a call of containerd to the snapshotter
  u unpack               4.0 ms   1.9 %  decompression and verification
  q queue                2.0 ms   1.0 %  all connections to the registry were busy
A profile would bring 1 chunks (1000 B) with the boot blob: about 50.0 ms less
  (our own registry learns it; for others: runnel node profile, then runnel convert --profile)

The longest waits
      50.0 ms at    150.0 ms  read /bin/3
                              queue 1.0 ms, round trip 39.0 ms, transfer 6.0 ms, unpack 4.0 ms
      30.0 ms at      0.0 ms  containerd: GET image manifest
                              connect 10.0 ms, round trip 19.0 ms, transfer 1.0 ms
      30.0 ms at     30.0 ms  GET boot blob
                              queue 1.0 ms, round trip 19.0 ms, transfer 10.0 ms
      20.0 ms at     60.0 ms  keep the image on disk
      15.0 ms at     80.0 ms  mount
The longest moments at which nobody waited for the node
      45.0 ms at    105.0 ms
      10.0 ms at    200.0 ms

Requests
      1 x boot blob                                     1000 B     30.0 ms
      1 x image manifest                                1000 B     30.0 ms
      1 x layer 1                                       1000 B     46.0 ms

        at       took  | each column is 5.2 ms                  |
    0.0 ms    30.0 ms  |crrrr=                                  | containerd: GET image manifest
   30.0 ms    30.0 ms  |     rrrr===                            | GET boot blob
   35.0 ms    70.0 ms  |      --------------                    | Prepare
   60.0 ms    20.0 ms  |           #####                        | keep the image on disk
   80.0 ms    15.0 ms  |               ####                     | mount
  150.0 ms    50.0 ms  |                            rrrrrrrr=uu | read /bin/3
  151.0 ms    46.0 ms  |                            rrrrrrrr==  | GET layer 1 (demand)
  210.0 ms     0.0 ms  |                                       '| read /bin/9
)");
}

Events hostile() {
  auto events = sample();
  events.image = "registry/<script>alert(1)</script>&\"'\x1b[2J";
  events.container = "</text><script>";
  events.reads[0].file = printable("/x\n\x1b[31m<b onload=\"y\">&\xff\\");
  events.requests[0].error = "<img src=x>";
  return events;
}

TEST(Picture, EscapesNames) {
  const auto events = hostile();
  const auto line = analyse(events, {}).value();

  for (const auto& picture : {svg_of(events, line), html_of(events, line)}) {
    EXPECT_THAT(picture, Not(HasSubstr("<script>alert")));
    EXPECT_THAT(picture, Not(HasSubstr("</text><script")));
    EXPECT_THAT(picture, Not(HasSubstr("<b onload")));
    EXPECT_THAT(picture, Not(HasSubstr("<img")));
    EXPECT_THAT(picture, Not(HasSubstr("\x1b")));
    EXPECT_THAT(picture, HasSubstr("&lt;b onload=&quot;y&quot;&gt;&amp;\\xff\\"));
  }
  EXPECT_THAT(text_of(events, line, {}), Not(HasSubstr("\x1b")));
}

TEST(Picture, NeedsNothingElse) {
  const auto events = sample();
  const auto line = analyse(events, {}).value();
  for (auto picture : {svg_of(events, line), html_of(events, line)}) {
    const std::string kName = "http://www.w3.org/2000/svg";
    picture.erase(picture.find(kName), kName.size());
    EXPECT_THAT(picture, Not(HasSubstr("http")));
    EXPECT_THAT(picture, HasSubstr("prefers-color-scheme: dark"));
  }
  EXPECT_THAT(html_of(events, line), HasSubstr("addEventListener('wheel'"));
}

TEST(Picture, HasABoundedSizeWhateverWasRead) {
  auto events = sample();
  for (uint32_t i = 0; i < 100'000; ++i) {
    auto read = fetched(i, 220 + i * 0.01, 221 + i * 0.01, 221.5 + i * 0.01);
    read.file = "/usr/lib/" + std::string(200, 'x') + std::to_string(i);
    events.reads.push_back(std::move(read));
  }
  const auto line = analyse(events, {}).value();
  const auto rows = rows_of(events, line, kPictureRows);

  EXPECT_LE(rows.size(), kPictureRows + 10);
  size_t reads = 0;
  for (const auto& row : rows)
    if (row.lane == Lane::kRead) reads += row.merged;
  EXPECT_EQ(reads, events.reads.size()) << "none is left out";
  EXPECT_LT(svg_of(events, line).size(), 2'000'000u);
  EXPECT_LT(text_of(events, line, {}).size(), 40'000u);
}

TEST(Picture, ShowsFewThingsOneByOne) {
  const auto events = sample();
  const auto rows = rows_of(events, analyse(events, {}).value(), 60);

  EXPECT_EQ(rows.size(), 8u);
  for (const auto& row : rows) EXPECT_EQ(row.merged, 1u);
  EXPECT_TRUE(std::ranges::is_sorted(rows, {}, &Row::begin));
}

TEST(TimelineJson, HasCausesThatAddUp) {
  const auto events = sample();
  const auto text = json_of(events, analyse(events, {}).value());

  EXPECT_THAT(text, HasSubstr("\"length_us\":210000"));
  EXPECT_THAT(text, HasSubstr("\"round trip\":77000"));
}

TEST(Escape, KeepsTheEndsOfLongNames) {
  EXPECT_EQ(printable("abc"), "abc");
  EXPECT_EQ(printable("0123456789", 8), "0...6789");
  EXPECT_EQ(printable(std::string(1000, '\n')).size(), 200u);
}

}  // namespace
}  // namespace runnel::timeline
