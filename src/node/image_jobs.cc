#include "node/image_jobs.h"

#include "base/log.h"

namespace runnel::node {

namespace {

constexpr size_t kMaxJobs = 16;

}  // namespace

ImageJobs::State ImageJobs::ask(const std::string& work, const ImageRequest& request,
                                Duration patience) {
  const Key key(work, request);
  std::unique_lock lock(mutex_);
  if (!jobs_.contains(key)) {
    if (jobs_.size() >= kMaxJobs) {
      std::erase_if(jobs_, [](const auto& job) { return job.second.ended; });
    }
    if (jobs_.size() >= kMaxJobs) {
      return {.progress = {}, .ended = true, .error = "too many images are waiting; try again"};
    }
    jobs_[key] = {};
    pool_.submit([this, key] { run(key); });
  }
  changed_.wait_for(lock, patience, [&] { return !jobs_.contains(key) || jobs_.at(key).ended; });
  const auto job = jobs_.find(key);
  if (job == jobs_.end()) return {.progress = {}, .ended = true, .error = {}};  // told to another
  State state = job->second;
  if (state.ended) jobs_.erase(job);
  return state;
}

void ImageJobs::run(const Key& key) {
  const auto& [work, request] = key;
  const auto ended = works_.at(work)(request, [&](const ImageProgress& now) {
    const std::lock_guard lock(mutex_);
    jobs_[key].progress = now;
  });
  if (!ended) {
    log::warning(log::Fields{{"image", request.image}}, "{}: {}", work, ended.error().message);
  }
  const std::lock_guard lock(mutex_);
  State& state = jobs_[key];
  state.ended = true;
  if (ended) {
    state.progress = *ended;
  } else {
    state.error = ended.error().message;
  }
  changed_.notify_all();
}

}  // namespace runnel::node
