// erofs/ is the metadata of a streamed image: the tree model that merging fills (tree.h), the
// writer that makes an EROFS image of it (writer.h), the reader for such images (reader.h), and the
// validator that stands between a downloaded image and the kernel (validator.h). The bytes are in
// format.h.
//
// It does not hold: file contents, mounting, merging of layers, reading of anybody else's EROFS
// images (compressed, compact inodes, data in the image). It does no I/O.
//
// Every function may be called from any thread; nothing here is shared or keeps state.
#pragma once

#include "erofs/reader.h"     // IWYU pragma: export
#include "erofs/tree.h"       // IWYU pragma: export
#include "erofs/validator.h"  // IWYU pragma: export
#include "erofs/writer.h"     // IWYU pragma: export
