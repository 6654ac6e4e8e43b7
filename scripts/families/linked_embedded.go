//go:build !llama_system

package main

const linked = "embedded"
