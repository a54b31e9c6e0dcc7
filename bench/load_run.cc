#include "load_run.h"

#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>

namespace runnel::bench {

namespace {

constexpr int kWaitMs = 100;
// A server that answers nothing at all for so long has failed.
// Without an answer. Many large bodies at once are all answered at the end: 20 GiB took 75 s.
constexpr auto kStall = std::chrono::seconds(300);

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

class Runner {
 public:
  Runner(const RunOptions& options, Job& job) : options_(options), job_(job) {}

  Result<Measured> run();

 private:
  struct Client {
    std::unique_ptr<LoadConnection> connection;
    SteadyTime begun;
    bool in_progress = false;
  };

  Result<void> connect_all();
  // The next request of the client, if there is one.
  Result<void> go_on(size_t index);
  Result<void> advance(size_t index);
  void note_done(Client& client);
  void start_measuring(SteadyTime now);

  const RunOptions& options_;
  Job& job_;
  UniqueFd epoll_;
  std::vector<Client> clients_;
  size_t active_ = 0;
  bool measuring_ = false;
  SteadyTime measured_from_;
  SteadyTime last_progress_;
  double cpu_before_ = 0;
  Measured measured_;
};

Result<void> Runner::connect_all() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (epoll_.get() < 0) return fail_errno("epoll_create1");
  clients_.resize(options_.connections);
  for (size_t i = 0; i < clients_.size(); ++i) {
    RUNNEL_TRY(clients_[i].connection, LoadConnection::open(options_.port, options_.tls));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.u64 = i;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, clients_[i].connection->fd(), &event) != 0)
      return fail_errno("epoll_ctl");
  }
  return {};
}

Result<void> Runner::go_on(size_t index) {
  auto& client = clients_[index];
  auto request = job_.next(index);
  if (!request) {
    --active_;
    return {};
  }
  if (!client.in_progress) client.begun = std::chrono::steady_clock::now();
  client.in_progress = true;
  return client.connection->begin(*std::move(request));
}

void Runner::note_done(Client& client) {
  client.in_progress = false;
  last_progress_ = std::chrono::steady_clock::now();
  if (!measuring_) return;
  ++measured_.done;
  const std::chrono::duration<float, std::micro> took = last_progress_ - client.begun;
  measured_.latencies.push_back(took.count());
}

Result<void> Runner::advance(size_t index) {
  auto& client = clients_[index];
  RUNNEL_TRY(const bool complete, client.connection->advance());
  if (!complete) return {};
  const auto& answer = client.connection->answer();
  if (measuring_) measured_.bytes += answer.body_size;
  RUNNEL_TRY(const auto step, job_.answered(index, answer));
  if (step == Job::Step::kDone) note_done(client);
  return go_on(index);
}

void Runner::start_measuring(SteadyTime now) {
  measuring_ = true;
  measured_from_ = now;
  cpu_before_ = cpu_seconds();
}

Result<Measured> Runner::run() {
  RUNNEL_DO(connect_all());
  const auto started = std::chrono::steady_clock::now();
  last_progress_ = started;
  if (options_.warm_up <= Duration::zero()) start_measuring(started);
  active_ = clients_.size();
  for (size_t i = 0; i < clients_.size(); ++i) RUNNEL_DO(go_on(i));
  std::array<epoll_event, 256> events;
  auto now = started;
  while (active_ > 0 && now < started + options_.warm_up + options_.at_most) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), kWaitMs);
    if (count < 0 && errno != EINTR) return fail_errno("epoll_wait");
    for (int i = 0; i < count; ++i) RUNNEL_DO(advance(events.at(i).data.u64));
    now = std::chrono::steady_clock::now();
    if (!measuring_ && now >= started + options_.warm_up) start_measuring(now);
    if (now > last_progress_ + kStall) return fail(Code::kUnavailable, "the server stands still");
  }
  measured_.seconds = std::chrono::duration<double>(now - measured_from_).count();
  measured_.cpu_seconds = cpu_seconds() - cpu_before_;
  std::ranges::sort(measured_.latencies);
  return std::move(measured_);
}

}  // namespace

double Measured::percentile(double share) const {
  if (latencies.empty()) return 0;
  const auto index = static_cast<size_t>(share * static_cast<double>(latencies.size()));
  return latencies[std::min(index, latencies.size() - 1)];
}

Result<Measured> run(const RunOptions& options, Job& job) {
  return Runner(options, job).run();
}

}  // namespace runnel::bench
