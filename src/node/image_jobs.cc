#include "node/image_jobs.h"

#include "base/log.h"

namespace runnel::node {

namespace {

constexpr size_t kMaxJobs = 16;
constexpr auto kToldFor = std::chrono::seconds(10);

ImageJobs::State refused(const char* why) {
  return {.progress = {}, .ended = true, .error = why};
}

}  // namespace

ImageJobs::State ImageJobs::ask(const std::string& work, const ImageRequest& request,
                                Duration patience) {
  const Key key(work, request);
  std::unique_lock lock(mutex_);
  forget_old_locked();
  auto& known = jobs_[key];
  if (!known) {
    const bool too_many = jobs_.size() > kMaxJobs;
    if (stop_.stop_requested() || too_many) {
      jobs_.erase(key);
      return refused(too_many ? "too many images are waiting; try again" : "the node stops");
    }
    known = std::make_shared<Job>();
    pool_.submit([this, key, job = known] { run(key, *job); });
  }
  const auto job = known;
  changed_.wait_for(lock, patience, [&] { return job->state.ended; });
  const auto still = jobs_.find(key);
  if (job->state.ended && still != jobs_.end() && still->second == job) jobs_.erase(still);
  return job->state;
}

// Nobody has asked for them any more: what they say may not be true by now.
void ImageJobs::forget_old_locked() {
  const auto now = clock_.now();
  std::erase_if(jobs_, [&](const auto& each) {
    return each.second->state.ended && now - each.second->ended_at > kToldFor;
  });
}

bool ImageJobs::begins() {
  const std::lock_guard lock(mutex_);
  running_ = !stop_.stop_requested();
  return running_;
}

void ImageJobs::run(const Key& key, Job& job) {
  const auto& [work, request] = key;
  const auto ended = [&]() -> Result<ImageProgress> {
    if (!begins()) return fail(Code::kUnavailable, "the node stops");
    const auto note = [&](const ImageProgress& now) {
      const std::lock_guard lock(mutex_);
      job.state.progress = now;
    };
    return works_.at(work)(request, note, stop_.get_token());
  }();
  if (!ended) {
    log::warning(log::Fields{{"image", request.image}}, "{}: {}", work, ended.error().message);
  }
  const std::lock_guard lock(mutex_);
  running_ = false;
  job.state.ended = true;
  job.ended_at = clock_.now();
  if (ended) {
    job.state.progress = *ended;
  } else {
    job.state.error = ended.error().message;
  }
  changed_.notify_all();
}

void ImageJobs::stop(Duration patience) {
  stop_.request_stop();
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [&] { return !running_; });
}

}  // namespace runnel::node
