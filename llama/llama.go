package llama

/*
#cgo CXXFLAGS: -std=c++17 -Wno-psabi
#cgo linux LDFLAGS: -ldl
#include "shim.h"
*/
import "C"

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

var start = sync.OnceFunc(func() { C.ivo_init() })

// DeviceType is the kind of a device (enum ggml_backend_dev_type).
type DeviceType int32

const (
	DeviceCPU           DeviceType = 0
	DeviceGPU           DeviceType = 1 // with memory of its own
	DeviceIntegratedGPU DeviceType = 2 // that shares the CPU's memory
	DeviceAccelerator   DeviceType = 3 // used together with the CPU, such as BLAS
)

// Device is a compute device that the linked backends offer.
type Device struct {
	Name        string
	Description string
	Type        DeviceType
	Free, Total uint64 // bytes of memory
}

// Devices lists the compute devices (ggml_backend_dev_get).
func Devices() []Device {
	start()
	var out []Device
	for i := range C.ivo_device_count() {
		var d C.ivo_device
		C.ivo_device_get(C.size_t(i), &d)
		out = append(out, Device{C.GoString(d.name), C.GoString(d.description), DeviceType(d._type), uint64(d.free), uint64(d.total)})
	}
	return out
}

// CPUFeatures returns what the CPU backend was compiled for, such as AVX2 = 1
// (ggml_backend_get_features).
func CPUFeatures() map[string]string {
	start()
	out := make(map[string]string)
	var name, value *C.char
	for i := 0; bool(C.ivo_cpu_feature(C.size_t(i), &name, &value)); i++ {
		out[C.GoString(name)] = C.GoString(value)
	}
	return out
}

// SupportsGPU says whether llama.cpp can offload layers here (llama_supports_gpu_offload).
func SupportsGPU() bool {
	start()
	return bool(C.ivo_supports_gpu_offload())
}

// Build says which llama.cpp is linked.
func Build() string { return build() }

// Compiled says which llama.cpp is linked and how it was compiled: by what, where that is known, and for which features of the CPU.
// The same numbers to the bit are to be had of equal ones alone.
func Compiled() string {
	text := build()
	if by := compiler(); by != "" {
		text += ", by " + by
	}
	return text + ", for" + used(CPUFeatures())
}

// used lists features that are used, with their values where these say more than that.
func used(features map[string]string) (text string) {
	for _, name := range slices.Sorted(maps.Keys(features)) {
		switch value := features[name]; value {
		case "", "0":
		case "1":
			text += " " + name
		default:
			text += " " + name + "=" + value
		}
	}
	return cmp.Or(text, " any CPU")
}
