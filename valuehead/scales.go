package valuehead

import "math"

// fitScales sets the head's mean and inverse deviation of every column, and those of
// the rewards, to the dataset's. A column that does not vary is only centred.
func (h *Head) fitScales(d *Dataset) {
	width := h.features.width
	h.mean, h.inverse = make([]float32, width), make([]float32, width)
	// Sums of differences from the first row, so that a large mean costs no digits.
	first := d.trajectories[0].rows[:width]
	total, squares := make([]float64, width), make([]float64, width)
	var rewards, rewardSquares float64
	origin := float64(d.trajectories[0].targets[0])
	for _, t := range d.trajectories {
		for at := 0; at < len(t.rows); at += width {
			for j, v := range t.rows[at : at+width] {
				diff := float64(v - first[j])
				total[j] += diff
				squares[j] += diff * diff
			}
		}
		for _, r := range t.targets {
			diff := float64(r) - origin
			rewards += diff
			rewardSquares += diff * diff
		}
	}
	n := float64(d.states)
	for j := range width {
		mean, deviation := moments(float64(first[j]), total[j], squares[j], n)
		h.mean[j], h.inverse[j] = float32(mean), float32(1/deviation)
	}
	mean, deviation := moments(origin, rewards, rewardSquares, n)
	h.rewardMean, h.rewardScale = float32(mean), float32(deviation)
}

// moments returns the mean and the standard deviation of n numbers from the sums of
// their differences from origin, and 1 for a deviation that is only rounding.
func moments(origin, total, squares, n float64) (mean, deviation float64) {
	shift := total / n
	mean = origin + shift
	deviation = math.Sqrt(max(squares/n-shift*shift, 0))
	if deviation < 1e-6*max(math.Abs(mean), 1e-3) {
		deviation = 1
	}
	return mean, deviation
}
