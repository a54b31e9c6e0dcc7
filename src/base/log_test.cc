#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log_line.h"
#include "base/log_repeats.h"
#include "base/log_sink.h"
#include "support/temp_dir.h"

namespace runnel::log {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using namespace std::string_view_literals;
using test::TempDir;

constexpr WallTime kTime{seconds(1'800'000'000) + milliseconds(7)};
constexpr const char* kSite = "chunk {} came corrupt";

Line line_of(std::string message, Fields fields = {}) {
  return {.level = Level::kWarning, .message = std::move(message), .fields = std::move(fields)};
}

TEST(LogLine, IsOneLineOfTextWithItsFields) {
  const auto text = as_text_line(
      line_of("a chunk is bad", {{"layer", "sha256:ab"}, {"path", "a b=\"c\""}}), kTime);

  EXPECT_EQ(text,
            "2027-01-15T08:00:00.007Z warning a chunk is bad layer=sha256:ab "
            "path=\"a b=\\\"c\\\"\"\n");
}

TEST(LogLine, CannotBeForgedByANameWithANewline) {
  const std::string hostile = "a\nerror forged\x1b[31m\xff \xc3\xa9 \xe2\x80\xa6";

  EXPECT_EQ(as_prefixed_line(line_of(hostile, {{"image", hostile}})),
            "<4>a\\x0aerror forged\\x1b[31m\\xff é … "
            "image=\"a\\\\x0aerror forged\\\\x1b[31m\\\\xff é …\"\n");
  EXPECT_EQ(as_json_line(line_of(hostile), kTime),
            "{\"time\":\"2027-01-15T08:00:00.007Z\",\"level\":\"warning\",\"message\":"
            "\"a\\\\x0aerror forged\\\\x1b[31m\\\\xff é …\"}\n");
}

TEST(LogLine, RefusesOverlongAndCutSequencesOfUtf8) {
  EXPECT_EQ(
      as_prefixed_line(line_of("\xc0\xaf|\xe0\x80\x80|\xed\xa0\x80|\xf4\x90\x80\x80|\xe2\x82")),
      "<4>\\xc0\\xaf|\\xe0\\x80\\x80|\\xed\\xa0\\x80|\\xf4\\x90\\x80\\x80|\\xe2\\x82\n");
}

TEST(LogLine, IsOfBoundedLength) {
  EXPECT_LT(as_text_line(line_of(std::string(1 << 20, 'x')), kTime).size(), 20'000U);
}

TEST(LogLine, GivesTheJournalTheLengthOfAValueWithANewline) {
  const auto entry = as_journal_entry(line_of("a\nb", {{"layer", "sha256:ab"}}));

  const std::string_view expected =
      "MESSAGE\n\3\0\0\0\0\0\0\0a\nb\nPRIORITY=4\n"
      "SYSLOG_IDENTIFIER=runnel\nRUNNEL_LAYER=sha256:ab\n"sv;
  EXPECT_EQ(entry, expected);
}

// What a logger does with a line.
struct Written {
  bool now;
  std::vector<std::string> counts;
};
Written put(Repeats& repeats, const Line& line, SteadyTime now) {
  Written written{};
  for (const auto& count : repeats.due(now)) written.counts.push_back(count.message);
  written.now = repeats.admit(kSite, line, now);
  return written;
}

TEST(LogRepeats, CountsALineThatComesAgain) {
  Repeats repeats;
  const SteadyTime start{seconds(100)};

  EXPECT_TRUE(put(repeats, line_of("a"), start).now);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(put(repeats, line_of("a"), start + seconds(i)).now);
  const auto later = put(repeats, line_of("a"), start + seconds(10));

  EXPECT_EQ(later.counts, std::vector<std::string>{"a (5 times more in 10 s)"});
  EXPECT_TRUE(later.now);
}

TEST(LogRepeats, TellsTheCountsOfOpenWindowsAtTheEnd) {
  Repeats repeats;
  const Line line{.level = Level::kWarning, .message = "chunk 7 is bad", .fields = {}};
  const SteadyTime now(seconds(100));
  EXPECT_TRUE(repeats.admit("site", line, now));
  EXPECT_FALSE(repeats.admit("site", line, now));

  const auto rest = repeats.rest();

  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].message, "chunk 7 is bad (1 times more in 10 s)");
  EXPECT_TRUE(repeats.rest().empty());
  EXPECT_TRUE(repeats.due(SteadyTime::max()).empty());
}

TEST(LogRepeats, SaysNothingOfALineThatCameOnce) {
  Repeats repeats;
  put(repeats, line_of("a"), SteadyTime(seconds(100)));

  EXPECT_TRUE(repeats.due(SteadyTime(seconds(200))).empty());
}

TEST(LogRepeats, TellsLinesApartByTheirFields) {
  Repeats repeats;
  const SteadyTime now{seconds(100)};

  EXPECT_TRUE(put(repeats, line_of("a", {{"layer", "1"}}), now).now);
  EXPECT_TRUE(put(repeats, line_of("a", {{"layer", "2"}}), now).now);
  EXPECT_FALSE(put(repeats, line_of("a", {{"layer", "1"}}), now).now);
}

TEST(LogRepeats, BoundsWhatOnePlaceSaysEvenIfEveryLineIsAnother) {
  Repeats repeats;
  const SteadyTime start{seconds(100)};
  uint64_t written = 0;

  for (int i = 0; i < 100'000; ++i) {
    written += put(repeats, line_of(fmt::format("chunk {} came corrupt", i)), start).now ? 1 : 0;
  }
  const auto counts = repeats.due(start + seconds(10));

  EXPECT_EQ(written, Repeats::kMostWarnings);
  ASSERT_EQ(counts.size(), 1U);
  EXPECT_EQ(counts[0].message,
            "99980 more lines like \"chunk {} came corrupt\" in 10 s are not written");
  EXPECT_TRUE(put(repeats, line_of("chunk 1 came corrupt"), start + seconds(10)).now);
}

TEST(LogRepeats, LetsInformationHaveMoreLinesThanWarnings) {
  Repeats repeats;
  uint64_t written = 0;

  for (int i = 0; i < 1000; ++i) {
    Line line{
        .level = Level::kInfo, .message = fmt::format("image {} is mounted", i), .fields = {}};
    written += repeats.admit("image {} is mounted", line, SteadyTime(seconds(100))) ? 1 : 0;
  }

  EXPECT_EQ(written, Repeats::kMostOfSite);
}

TEST(LogRepeats, TellsOfWhatLastsAnHourEverMoreSeldom) {
  Repeats repeats;
  const SteadyTime start{seconds(100)};
  std::vector<std::string> told;
  for (int second = 0; second < 3600; ++second) {
    auto now = put(repeats, line_of("the disk fails"), start + seconds(second));
    for (auto& count : now.counts) told.push_back(std::move(count));
    if (now.now) told.emplace_back("written");
  }

  ASSERT_GT(told.size(), 8U);
  EXPECT_LT(told.size(), 35U);
  EXPECT_EQ(told[1], "the disk fails (9 times more in 10 s)");
  EXPECT_EQ(told[3], "the disk fails (19 times more in 20 s)");
  EXPECT_EQ(told[5], "the disk fails (39 times more in 40 s)");
  EXPECT_EQ(told.back(), "written");
  EXPECT_EQ(told.end()[-2], "the disk fails (319 times more in 320 s)");
}

TEST(LogRepeats, BoundsWhatOnePlaceSaysInAnHourOfDifferentLines) {
  Repeats repeats;
  const SteadyTime start{seconds(100)};
  size_t lines = 0;
  for (int i = 0; i < 36'000; ++i) {
    const auto now =
        put(repeats, line_of(fmt::format("chunk {} came corrupt", i)), start + seconds(i / 10));
    lines += now.counts.size() + (now.now ? 1 : 0);
  }

  EXPECT_LT(lines, 400U);
}

TEST(LogRepeats, BoundsWhatOnePlaceSaysInAnHourOfOneLineASecond) {
  Repeats repeats;
  const SteadyTime start{seconds(100)};
  size_t lines = 0;
  for (int i = 0; i < 3600; ++i) {
    const auto now =
        put(repeats, line_of(fmt::format("chunk {} came corrupt", i % 500)), start + seconds(i));
    lines += now.counts.size() + (now.now ? 1 : 0);
  }

  EXPECT_LT(lines, 500U);
}

TEST(LogRepeats, BeginsAnewAfterAQuietWhile) {
  Repeats repeats;
  const SteadyTime start{seconds(100)};
  put(repeats, line_of("a"), start);
  put(repeats, line_of("a"), start + seconds(1));
  EXPECT_EQ(repeats.due(start + seconds(10)).size(), 1U);
  EXPECT_TRUE(repeats.due(start + seconds(30)).empty());

  EXPECT_TRUE(put(repeats, line_of("a"), start + seconds(31)).now);
  EXPECT_FALSE(put(repeats, line_of("a"), start + seconds(32)).now);
  const auto counts = repeats.due(start + seconds(41));

  ASSERT_EQ(counts.size(), 1U);
  EXPECT_EQ(counts[0].message, "a (1 times more in 10 s)");
}

// A socket where the journal would listen.
class JournalSocket {
 public:
  explicit JournalSocket(const std::string& path)
      : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    RUNNEL_CHECK(fd_);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  // Empty when nothing came.
  std::string receive() const {
    std::string entry(1 << 20, '\0');
    const auto size = ::recv(fd_.get(), entry.data(), entry.size(), MSG_DONTWAIT);
    entry.resize(size < 0 ? 0 : static_cast<size_t>(size));
    return entry;
  }

 private:
  const UniqueFd fd_;
};

TEST(LogSink, SendsOneEntryALineToTheJournal) {
  const TempDir dir;
  const JournalSocket journal(dir.path() + "/socket");
  Sink sink(Format::kJournal, dir.path() + "/socket");
  const auto line = line_of("a layer is bad", {{"layer", "sha256:ab"}});

  sink.write(line, kTime);

  EXPECT_EQ(journal.receive(), as_journal_entry(line));
}

TEST(LogSink, WritesToStandardErrorWhenTheJournalIsGoneOrFull) {
  const TempDir dir;
  Sink sink(Format::kJournal, dir.path() + "/socket");
  testing::internal::CaptureStderr();
  sink.write(line_of("nobody listens"), kTime);
  const JournalSocket journal(dir.path() + "/socket");
  for (int i = 0; i < 10'000; ++i) sink.write(line_of("never waits"), kTime);
  const auto text = testing::internal::GetCapturedStderr();

  EXPECT_TRUE(text.contains(" warning nobody listens\n")) << text.substr(0, 200);
  EXPECT_TRUE(text.contains(" warning never waits\n"));
  EXPECT_FALSE(journal.receive().empty());
}

// Standard error as a supervisor has it that reads when it pleases.
class Supervisor {
 public:
  // `reads` and `writes` are the ends of one pipe, or of a pair of sockets.
  Supervisor(int reads, int writes) : reads_(reads), saved_(::dup(STDERR_FILENO)) {
    ::dup2(writes, STDERR_FILENO);
    ::close(writes);
    ::fcntl(reads, F_SETFL, O_NONBLOCK);
  }
  ~Supervisor() { ::dup2(saved_.get(), STDERR_FILENO); }

  static Supervisor with_pipe() {
    int ends[2];
    RUNNEL_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
    return {ends[0], ends[1]};
  }
  static Supervisor with_socket() {
    int ends[2];
    RUNNEL_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    return {ends[0], ends[1]};
  }

  void make_small() const { ::fcntl(reads_.get(), F_SETPIPE_SZ, 4096); }
  void leave() { reads_.reset(); }
  // All that is there.
  std::string read() const {
    std::string text;
    char piece[65536];
    for (ssize_t n = 0; (n = ::read(reads_.get(), piece, sizeof piece)) > 0;) {
      text.append(piece, static_cast<size_t>(n));
    }
    return text;
  }

 private:
  UniqueFd reads_;
  const UniqueFd saved_;
};

int64_t lines_in(std::string_view text) {
  return std::ranges::count(text, '\n');
}

// More than a pipe or socket takes; and what is read afterwards tells how many of them are lost.
void expect_that_nobody_waits(const Supervisor& supervisor) {
  constexpr int kLines = 10'000;
  Sink sink(Format::kText);
  const int flags = ::fcntl(STDERR_FILENO, F_GETFL);

  for (int i = 0; i < kLines; ++i) sink.write(line_of("never waits"), kTime);

  EXPECT_EQ(::fcntl(STDERR_FILENO, F_GETFL), flags) << "it is the supervisor's as well";
  const auto before = lines_in(supervisor.read());
  EXPECT_GT(before, 100);
  EXPECT_LT(before, kLines);
  EXPECT_TRUE(sink.tell_lost(kTime));
  const auto lost =
      fmt::format(" warning {} lines of the log are lost: nobody took them\n", kLines - before);
  auto told = supervisor.read();
  EXPECT_TRUE(told.ends_with(lost)) << told;
  sink.write(line_of("goes on"), kTime);
  told = supervisor.read();
  EXPECT_TRUE(told.ends_with(" warning goes on\n")) << told;
  EXPECT_EQ(lines_in(told), 1);
}

TEST(LogSink, WaitsForNobodyWhoReadsAPipe) {
  const auto supervisor = Supervisor::with_pipe();

  expect_that_nobody_waits(supervisor);
}

TEST(LogSink, WaitsForNobodyWhoReadsASocket) {
  const auto supervisor = Supervisor::with_socket();

  expect_that_nobody_waits(supervisor);
}

TEST(LogSink, WaitsForNobodyWhoReadsAPipeThatItMayNotOpen) {
  if (::geteuid() != 0) GTEST_SKIP() << "skipped: needs root";
  const auto supervisor = Supervisor::with_pipe();
  const int before = ::setfsuid(65534);
  EXPECT_LT(::open("/proc/self/fd/2", O_WRONLY | O_CLOEXEC), 0);

  expect_that_nobody_waits(supervisor);

  ::setfsuid(static_cast<uid_t>(before));
}

TEST(LogSink, EndsALineThatDidNotFitBeforeTheNext) {
  const auto supervisor = Supervisor::with_pipe();
  supervisor.make_small();
  Sink sink(Format::kText);
  const auto length = as_text_line(line_of(std::string(6000, 'x')), kTime).size();

  sink.write(line_of(std::string(6000, 'x')), kTime);
  auto text = supervisor.read();
  EXPECT_LT(text.size(), length);
  sink.write(line_of("next"), kTime);
  text += supervisor.read();

  EXPECT_EQ(text, as_text_line(line_of(std::string(6000, 'x')), kTime) +
                      as_text_line(line_of("next"), kTime));
}

TEST(LogSink, GoesOnWhenNobodyReadsAnyMore) {
  auto* const before = ::signal(SIGPIPE, SIG_IGN);
  auto supervisor = Supervisor::with_pipe();
  supervisor.leave();
  Sink sink(Format::kText);

  sink.write(line_of("into the void"), kTime);

  EXPECT_FALSE(sink.tell_lost(kTime));
  ::signal(SIGPIPE, before);
}

TEST(LogSink, WritesPrioritiesWhenStandardErrorIsSystemds) {
  testing::internal::CaptureStderr();
  struct stat info;
  ASSERT_EQ(::fstat(STDERR_FILENO, &info), 0);
  ::setenv("JOURNAL_STREAM", fmt::format("{}:{}", info.st_dev, info.st_ino).c_str(), 1);
  Sink sink(Format::kText);
  ::unsetenv("JOURNAL_STREAM");

  sink.write(line_of("a line"), kTime);

  EXPECT_EQ(testing::internal::GetCapturedStderr(), "<4>a line\n");
}

TEST(Log, WritesFieldsAndCountsRepeatedLines) {
  testing::internal::CaptureStderr();

  for (int i = 0; i < 3; ++i) warning(Fields{{"layer", "sha256:ab"}}, "chunk {} is bad", 7);
  debug("not at this level {}", 1);

  const auto text = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(text.ends_with("Z warning chunk 7 is bad layer=sha256:ab\n")) << text;
  EXPECT_EQ(std::ranges::count(text, '\n'), 1);
}

TEST(Log, ReadsItsOptions) {
  EXPECT_EQ(parse_level("warning").value(), Level::kWarning);
  EXPECT_EQ(parse_format("json").value(), Format::kJson);
  EXPECT_EQ(parse_level("loud").error().message,
            "\"loud\" is no level of the log: debug, info, warning or error");
  EXPECT_FALSE(parse_format("xml"));
}

}  // namespace
}  // namespace runnel::log
