#include "snapshot/streaming.h"
