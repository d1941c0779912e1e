#pragma once

// Prototypes and function tables of our own for NVIDIA's libraries, so that nothing of CUDA is needed to build or to start.
//
// The libraries are opened at run time. A table field carries the library's own parameter order.
// Names of symbols, values of enumerators and layouts of structs are facts of the CUDA ABI, fixed since the version stated beside them.

#include "CCUDADriver.h"
#include "CCUDACompiler.h"
#include "CCUDAMatrix.h"
#include "CCUDAMonitor.h"
#include "CCUDAMemory.h"
