/** Two regions, and callers near each; and a caller near neither. */

export const REGIONS = [
  { id: 'frankfurt', latitude: 50.1, longitude: 8.7, hint: 'weur', jurisdiction: null },
  { id: 'oregon', latitude: 45.6, longitude: -121.2, hint: 'wnam', jurisdiction: null },
];

/** What the platform says of where a request comes from; the local runtime takes it from this header. */
const from = (latitude: number, longitude: number) => ({
  'MF-CF-Blob': JSON.stringify({ latitude: String(latitude), longitude: String(longitude) }),
});
export const PARIS = from(48.9, 2.4);
export const SEATTLE = from(47.6, -122.3);
export const SYDNEY = from(-33.9, 151.2);
/** Where no stage server stands: the Worker of that caller runs there. */
export const AUSTRALIA = { id: 'sydney', latitude: -33.9, longitude: 151.2, hint: 'oc', jurisdiction: null };
