/** Small pictures in each format: 8 x 8 pixels of one red, as sharp 0.35.5 writes them by default. */
import type { ImageFormat } from '../../src/stage/contract.ts';

const FILES: Readonly<Record<ImageFormat, string>> = {
  png: 'iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAACXBIWXMAAAPoAAAD6AG1e1JrAAAAEUlEQVQImWNYYKCAFTEMLQkAkiE8AbrFI2YAAAAASUVORK5CYII=',
  webp: 'UklGRjgAAABXRUJQVlA4ICwAAACQAQCdASoIAAgAAUAmJaACdLoAA5gA/vIiX/gN18W0y/+oM/8tD/1aH63AAA==',
  jpeg: '/9j/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8tMC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCj/wAARCAAIAAgDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAf/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFQEBAQAAAAAAAAAAAAAAAAAABQf/xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oADAMBAAIRAxEAPwCfgAFBf//Z',
};

/** The bytes of a picture that says nothing of itself. */
export const pictureIn = (format: ImageFormat): Uint8Array =>
  Uint8Array.from(atob(FILES[format]), (character) => character.charCodeAt(0));
