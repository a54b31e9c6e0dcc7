// Bounds how many requests wait at a time for what hosts answer: of one host, so that one that
// keeps its own waiting leaves room for the others', and of all.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace runnel::mirror {

// Any thread may call any method.
class HostShares {
 public:
  HostShares(size_t most_of_one, size_t most_of_all)
      : most_of_one_(most_of_one), most_of_all_(most_of_all) {}

  // One request's place, given back at its end. The shares must outlive it.
  class Place {
   public:
    Place(Place&& other) noexcept : shares_(other.shares_), host_(std::move(other.host_)) {
      other.shares_ = nullptr;
    }
    ~Place() {
      if (shares_ != nullptr) shares_->give_back(host_);
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    Place& operator=(Place&&) = delete;

   private:
    friend class HostShares;
    Place(HostShares& shares, std::string host) : shares_(&shares), host_(std::move(host)) {}

    HostShares* shares_;
    std::string host_;
  };

  // Nothing when there is none left: of this host, or of all.
  std::optional<Place> take(const std::string& host);

 private:
  void give_back(const std::string& host);

  const size_t most_of_one_;
  const size_t most_of_all_;
  std::mutex mutex_;
  std::map<std::string, size_t> taken_;  // by host, none of them zero
  size_t all_taken_ = 0;
};

}  // namespace runnel::mirror
