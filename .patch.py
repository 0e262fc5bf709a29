p='onnx_trtcal/improve/rounding/one_layer.py'
s=open(p).read()
a=s.index("def find_codes("); b=s.index("def shift_of(")
s=s[:a]+'''def find_codes(
    layer: RoundedLayer, codes: Codes, activations, count: int, limit: int, scale, ts, damp
):
    rows = layer.rows
    if rows is None:
        return None
    most = min(max(_PER_COLUMN * rows.columns, _FEWEST_ROWS), _MOST_ROWS)
    covariance = Covariance(rows.groups, rows.columns)
    cross = Covariance(rows.groups, rows.columns)
    for turn, (values, exact) in enumerate(activations):
        wanted = spread(rows.count(values), -(-most // count), turn)
        q = rows.rows(values, wanted)
        covariance.add(q)
        x = rows.rows(np.clip(np.rint(exact.astype(np.float64) / scale * 32)/32,-2000,2000).astype(np.float32), wanted)
        cross.sums += x.transpose(0, 2, 1).astype(np.float64) @ q.astype(np.float64)
    matrix = rows.matrix(layer.values.astype(np.float64) / codes.scales.astype(np.float64))
    out = []
    for t in ts:
        rounded = []
        for group, each in enumerate(matrix):
            H = covariance.sums[group]
            w = each
            if t:
                lam = damp * np.diagonal(H).mean() * np.eye(len(H))
                target = np.linalg.solve(H + lam, (each @ (cross.sums[group] + lam)).T).T
                w = each + t * (target - each)
            rounded.append(round_rows(w, H, limit))
        out.append(Codes(rows.weight_of(np.stack(rounded)).astype(np.int8), codes.scales))
    return out


'''+s[b:]
open(p,'w').write(s)
p='onnx_trtcal/improve/rounding/round_model.py'
s=open(p).read()
s=s.replace('''        exact.advance([layer.output])
''','''        self._in = self._fin[layer.name]
        exact.advance([layer.output, self._in] if self._in not in exact.graph.inputs else [layer.output])
''')
s=s.replace('''        if found is not None:
            error = self._error(run, found.values(dtype), None, target)
            if error < least:
                best, least = found, error
                self.integers[layer.weight.tensor] = found.integers
''','''        log=[least]
        for k, each in enumerate(found or []):
            error = self._error(run, each.values(dtype), None, target)
            log.append(error/log[0])
            if error < least:
                best, least = each, error
                self.integers[layer.weight.tensor] = each.integers
        sig = sum(power(target(i)) for i in self._back)
        import os
        if os.environ.get('LOG'): print(layer.name[-30:], 'dB %.2f'%(10*np.log10(sig/log[0])), ['%.2f'%(-10*np.log10(v)) for v in log[1:]], flush=True)
''')
s=s.replace('''                yield array if array.dtype == np.int8 else np.rint(array.astype(np.float32) / scale)

        return find_codes(layer, nearest, integers(), len(self._fit), self.limit)''','''                yield array if array.dtype == np.int8 else np.rint(array.astype(np.float32) / scale), self._exact.feeds(sample)[self._in]
        import os
        return find_codes(layer, nearest, integers(), len(self._fit), self.limit, scale, eval(os.environ.get('TS','[0,.5,1]')), float(os.environ.get('DAMP','.01')))''')
s=s.replace('''        self._tensors =''','''        self._fin = {n.outputs[0].name: n.inputs[0].name for n in float_model.folded.nodes}
        self._tensors =''')
open(p,'w').write(s)
