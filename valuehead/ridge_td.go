package valuehead

// lambdaReturns are the rows z of a response's states, [T][d]: G_t = z_t . [w b] and the R and S of z_t, see
// [LambdaReturns].
func (r *ridge) lambdaReturns(z, rows []float32) []float32 {
	z = append(z[:0], rows...)
	n, last := r.d-2, len(rows)-r.d
	clear(z[last : last+n])
	for at := last - r.d; at >= 0; at -= r.d {
		for j := range r.d {
			z[at+j] = r.lambda * z[at+r.d+j]
			if j < n {
				z[at+j] += (1 - r.lambda) * rows[at+r.d+j]
			}
		}
	}
	return z
}

// settle moves the weights w, and b, which it returns, to where the lambda-returns of their own values are what they are
// fitted to, by the equations of all folds but one.
func (r *ridge) settle(s *symmetric, w []float64, b float64, mean []float64, count float64, target, without int) float64 {
	d, n := r.d, r.d-3
	sum, products := make([]float32, d*d), make([]float64, n+1)
	for k := range folds {
		if k == without {
			continue
		}
		for i, v := range r.gram(r.next, k) {
			sum[i] += v
		}
	}
	const most, still = 200, 1e-5 // steps, and the change after which the values are taken to stay
	for range most {
		for i := range products {
			row := sum[i*d : (i+1)*d]
			products[i] = float64(row[target]) + b*float64(row[n])
			for j, v := range w {
				products[i] += v * float64(row[j])
			}
		}
		change := s.refine(w, centered(products, mean))
		if b = bias(w, mean, products[n]/count); change < still {
			break
		}
	}
	return b
}
