// Any bytes as what a conversion's worker says, which is a process that hostile layers may have
// taken over, and as what it is told. What is understood is within its bounds, and reads the same
// when it is written and read again.
//
// Seeds: make_protocol_corpus.py.
//
// links: convert
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "artifact/artifact.h"
#include "base/fd.h"
#include "base/utf8.h"
#include "convert/worker_job.h"

using runnel::Bytes;
namespace artifact = runnel::artifact;
namespace convert = runnel::convert;

namespace {

void check(const convert::BootDone& done) {
  RUNNEL_CHECK(done.hot.empty() || done.hot == artifact::kHotGuessed ||
               done.hot == artifact::kHotSeeded || done.hot == artifact::kHotRecorded);
}

void check(const runnel::Error& error) {
  RUNNEL_CHECK(error.message.size() <= convert::kMaxFailureText);
  RUNNEL_CHECK(runnel::is_utf8(error.message));
  for (const unsigned char c : error.message) RUNNEL_CHECK(c >= 0x20 && c != 0x7f);
}

void check(const auto&) {}

void message(Bytes bytes) {
  const auto parsed = convert::parse_worker_message(bytes);
  if (!parsed) return;
  std::visit([](const auto& each) { check(each); }, *parsed);
  RUNNEL_CHECK(convert::parse_worker_message(convert::serialize(*parsed)) == *parsed);
}

void job(Bytes bytes) {
  const auto parsed = convert::parse_worker_job(bytes);
  if (!parsed) return;
  RUNNEL_CHECK(parsed->threads > 0);
  const auto again = convert::serialize(*parsed);
  RUNNEL_CHECK(again.size() <= bytes.size());
  RUNNEL_CHECK(convert::parse_worker_job(again) == *parsed);
}

// As they come out of the socket, each with its size before it.
void frames(Bytes bytes) {
  const runnel::UniqueFd file(::memfd_create("worker", MFD_CLOEXEC));
  RUNNEL_CHECK(file && runnel::write_all_at(file.get(), bytes, 0));
  size_t taken = 0;
  for (;;) {
    const auto one = convert::receive_message(file.get());
    if (!one) break;
    taken += sizeof(uint32_t) + one->size();
    message(*one);
  }
  RUNNEL_CHECK(taken <= bytes.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes bytes = std::as_bytes(std::span(data, size));
  message(bytes);
  job(bytes);
  frames(bytes);
  return 0;
}
