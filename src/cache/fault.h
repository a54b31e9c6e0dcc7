// Named points at which a test makes a disk fail, or the process die.
//
//   open-layer               (can fail) a layer's files are opened
//   request-read             engine: a request was taken from the kernel, nobody has looked at it
//   mid-fetch                a range was asked of the network, nothing has come
//   arrived                  its bytes are in memory, not verified
//   before-write             readers have their answer, the disk has nothing
//   write                    (can fail) pwrite(2) of a chunk
//   before-sync              data is written, fdatasync(2) was not called
//   fdatasync                (can fail) fdatasync(2) of a device file
//   between-sync-and-bitmap  data is durable, no bit says so
//   bits                     (can fail) pwrite(2) of the validity bits
//   between-bitmap-and-sync  the bits are written, fdatasync(2) of them was not called
//   delete-layer             (can fail) rename(2) of the directory of a layer that is to go
//   keep-image               (can fail) node: an image's files are written, and not durable
//   mount-image              (can fail) node: an image's layers are open, and it is not mounted
//   move-loops               (can fail) engine: a complete layer's loop device gets the plain file
//   loops-moved              it has that, and the record of the mount does not say so
//
// In a whole program they are set by RUNNEL_FAULT, which is read once, at the first point that is
// passed: POINT:ACTION[:N], several with commas. ACTION is `kill` (SIGKILL to itself at the Nth
// pass and at no other; N is 1 when not given) or the name of an errno (at every pass from the Nth
// on). "between-sync-and-bitmap:kill:3" dies at the third one; the next worker counts anew.
// RUNNEL_FAULT=@FILE: all this stands in a file that is looked at again at every pass, so that a
// test can change the fate of a worker that runs (by rename, not by writing into it). A kill
// removes the file first: the next worker, to whom the same requests come again at once, lives.
// "write:ENOSPC" is a full disk. What cannot be understood ends the process: a test that injects
// nothing proves nothing.
//
// The points are in every build, so that what is tested is what is shipped: who can set the
// environment of this process can also kill it. A point costs one load of an atomic when nothing
// is set.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace runnel::cache {

// The errno that the system call at `point` shall fail with, 0 for none; asked before the call.
int fault(std::string_view point);

// Tests only; an empty function takes the faults away, those of the environment too. Must not be
// called while layers work.
void set_faults(std::function<int(std::string_view point)> faults);

// What RUNNEL_FAULT says.
struct Fault {
  std::string point;
  int error = 0;  // 0: kill
  unsigned from = 1;

  bool operator==(const Fault&) const = default;
};
Result<std::vector<Fault>> parse_faults(std::string_view text);

}  // namespace runnel::cache
