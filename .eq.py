import sys,time
exec(open('.try.py').read().split("def main")[0])
from onnx_trtcal import quantize
for name in sys.argv[1].split(','):
    c=cases.get(name)
    if c: model=S/c['model']; cal=np.load(S/c['calibration'],mmap_mode='r'); test=np.load(S/c['test'],mmap_mode='r')[:500]; lab=S/c['labels']
    else: model='models/digits_resnet.onnx'; cal=np.load('models/digits_calib.npy').reshape(-1,1,8,8); test=np.load('models/digits_test.npy'); lab='models/digits_test_labels.csv'
    import csv
    a=ort.InferenceSession(str(model)); inp=a.get_inputs()[0]
    rows=open(lab).read().split()
    labels=np.array([int(r.split(',')[-1]) for r in rows if r.split(',')[-1].isdigit()])[:len(test)]
    if test.ndim<len(inp.shape) or test.shape[1:]!=tuple(inp.shape[1:]): test=test.reshape(len(test),*[d for d in inp.shape[1:]])
    def top1(proto):
        so=ort.SessionOptions(); so.log_severity_level=3; so.add_session_config_entry("session.disable_quant_qdq","1")
        b=ort.InferenceSession(proto if isinstance(proto,str) else proto.SerializeToString(),so)
        return 100*np.mean([b.run(None,{inp.name:test[i:i+1]})[0].ravel().argmax()==labels[i] for i in range(len(test))])
    print(name,'fp32 top1 %.2f'%top1(str(model)),len(test),flush=True)
    for bits in (8,7):
        for m in ('entropy','mse','easyquant'):
            for rd in (False,True):
                t=time.time(); z=time.process_time(); q=quantize(model,cal,Options(method=m,provider='cpu'),QdqOptions(weight_bits=bits,round=rd),listener=LoggingListener())
                p=q.proto(); print(name,bits,m,'round' if rd else '','%.1fs cpu %.1f'%(time.time()-t,time.process_time()-z),'dB',sqnr(model,p,test),'top1 %.2f'%top1(p),flush=True)
