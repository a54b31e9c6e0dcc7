// timeline/ says where the time of a container's start went: events in (what the node has noted),
// a timeline out, as text, as a picture, as JSON.
//
//   events.h      what happened, as the node's control socket has it
//   phases.h      what one wait is made of: causes, and the words for them
//   bringers.h    which request brought a read its bytes
//   analysis.h    what was waited for: causes, the longest waits, what a profile would save
//   rows.h        the bars of a picture, never more than it can show
//   text.h svg.h  the pictures
//
// It does not hold: how events are noted (node/, cache/, net/). Nothing here asks for a clock, a
// file or a process, so every rule can be tried in a test.
#pragma once

#include "timeline/analysis.h"  // IWYU pragma: export
#include "timeline/events.h"    // IWYU pragma: export
